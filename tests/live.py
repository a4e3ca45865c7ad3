"""Tests that ask the makers of the committed reference values anew, where these are installed."""

import importlib.util

import pytest

needs_peft = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("torch", "transformers", "peft"))),
    reason="torch, transformers or peft is absent",
)
needs_transformers = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("torch", "transformers"))),
    reason="torch or transformers is absent: what they gave is in tests/golden",
)
