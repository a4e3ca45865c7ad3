"""Fixtures that several rooms use."""

import atexit
import io
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
import sentencepiece

from ocijax.template import TEMPLATES

# Tests compile the same small programs again and again; JAX reads this when it is imported.
_COMPILED = tempfile.mkdtemp(prefix="ocijax-compiled-")
atexit.register(shutil.rmtree, _COMPILED, ignore_errors=True)
os.environ["JAX_COMPILATION_CACHE_DIR"] = _COMPILED
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"
# To compile them well takes longer than to run them as they are; the soak has time for it.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

# What a shell runs in the background ignores Ctrl-C, and so would programs that tests end by it.
signal.signal(signal.SIGINT, signal.default_int_handler)

CORPUS = """\
def add(a, b):
    return a + b
for i in range(10):
    print(i)
Sort the list, largest first, and give zero for an empty list.
### Instruction: ### Response: [INST] [/INST] <<SYS>>
"""


# Another process, a test run beside this one, may have libtpu loaded as well.
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")


@pytest.fixture(scope="session")
def chips():
    """Gives the devices of a TPU topology by name; libtpu compiles for them on any machine."""
    pytest.importorskip("libtpu", reason="libtpu, which compiles for TPU, is absent")
    from jax.experimental import topologies

    return lambda name, **rest: list(topologies.get_topology_desc(name, "tpu", **rest).devices)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of public data that some tests want."""
    folder = os.environ.get("OCIJAX_DATA_DIR")
    if not folder:
        pytest.skip("OCIJAX_DATA_DIR names no data folder")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny_sentencepiece() -> bytes:
    """A sentencepiece model of 340 pieces with the special tokens of every template."""
    special_tokens = sorted(
        {token for template in TEMPLATES.values() for token in template.special_tokens}
        - {"<s>", "</s>"}
    )
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS.splitlines() * 20),
        model_writer=model,
        vocab_size=340,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        control_symbols=special_tokens,
        user_defined_symbols=["<|marker|>", "<|two▁words|>", "▁▁▁▁"],
        minloglevel=2,
    )
    return model.getvalue()


@pytest.fixture(scope="session")
def tiny_tokenizer_file(tiny_sentencepiece: bytes, tmp_path_factory) -> Path:
    """That model as a ``tokenizer.model``."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    path.write_bytes(tiny_sentencepiece)
    return path
