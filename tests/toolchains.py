"""Languages whose tools a host may lack."""

import pytest

from ocijax.errors import InputError
from ocijax.sandbox.languages import PYTHON, find


def needs(language: str) -> None:
    """Skips the test where the tools of ``language`` are not on this host, saying which."""
    if language != PYTHON:
        try:
            find(language)
        except InputError as error:
            pytest.skip(str(error))
