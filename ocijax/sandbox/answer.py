"""What a candidate's process answers: the first byte of each frame says what the rest is."""

VALUE = b"v"
"""The encoding of a value of a built-in type itself."""

LIKE = b"l"
"""The encoding of a value that is only like one: of a subclass, another kind of number."""

ERROR = b"e"
"""An error in words, UTF-8."""

MEMORY = b"m"
"""Likewise, one for want of memory."""
