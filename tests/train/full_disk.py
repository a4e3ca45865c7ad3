"""Writes a checkpoint, takes the room away, tries another; prints what became of both as JSON.

    python -m tests.train.full_disk DIRECTORY TOKENIZER limit|fill

Run by test_checkpoint.py in a process of its own: the limit would hold for the tests as well.
"""

import json
import resource
import sys
from pathlib import Path

import jax
from absl import logging

from ocijax.errors import InputError
from ocijax.model.parameters import init_parameters
from ocijax.train.checkpoint import Checkpoints, ModelDescription, load_model
from ocijax.train.step import TrainState
from tests.train.conftest import MODEL


def take_room(directory: Path, how: str) -> None:
    """Leaves no room for another checkpoint."""
    if how == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        return
    with open(directory / "filler", "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass


def main(directory: Path, tokenizer: str, how: str) -> None:
    """Prints the error of the second checkpoint and the step of the one that loads."""
    logging.set_verbosity(logging.FATAL)
    parameters = init_parameters(MODEL, jax.random.key(0))
    state, message = TrainState(parameters, {"count": jax.numpy.zeros(())}), None
    try:
        model = ModelDescription(MODEL, tokenizer, "llama-2")
        with Checkpoints(directory / "checkpoints", model, keep=1) as checkpoints:
            checkpoints.save(1, state, {})
            checkpoints.wait()
            take_room(directory, how)
            checkpoints.save(2, state, {})
    except InputError as error:
        message = str(error)
    loaded = load_model(directory).parameters
    same = all(bool((loaded[path] == array).all()) for path, array in parameters.items())
    print(json.dumps({"message": message, "whole": same}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
