"""The one exception for what a user gave us wrongly."""


class InputError(ValueError):
    """The input is wrong: one line that names the file, line or flag and says what to do."""
