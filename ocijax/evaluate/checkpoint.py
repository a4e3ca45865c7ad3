"""A checkpoint that is measured: how it is loaded, when, and what it is known by."""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ocijax.conversation import Conversation
from ocijax.sample.settings import Completion, SamplingSettings

_UNREAD = ("optimizer", "data")
"""Parts of a training run's step that no answer comes from."""


@dataclass(frozen=True)
class Loading:
    """How a checkpoint is loaded, as far as it may change answers, if only by rounding.

    Attributes:
      template: chat template; empty: the checkpoint's own.
      dtype: of the model; empty: as suits the device.
      tensor: devices that share each matrix.
      draft_tokens: looked up in the conversation a forward.
      int8_weights: whether the layers' weights are held in eight bits.
      int8_cache: whether keys and values are.

    Raises:
      ValueError: a number is out of its range.
    """

    template: str = ""
    dtype: Literal["", "float32", "bfloat16"] = ""
    tensor: int = 1
    draft_tokens: int = 0
    int8_weights: bool = False
    int8_cache: bool = False

    def __post_init__(self):
        if self.tensor < 1:
            raise ValueError(f"tensor must be at least 1, is {self.tensor}")
        if self.draft_tokens < 0:
            raise ValueError(f"draft_tokens must be at least 0, is {self.draft_tokens}")

    def __str__(self) -> str:
        """Those that are not the default."""
        default = asdict(Loading())
        given = {name: one for name, one in asdict(self).items() if one != default[name]}
        return " ".join(f"{name}={one}" for name, one in given.items())

    def here(self) -> "Loading":
        """The same with the dtype that is chosen on this host; no device is started for that."""
        if self.dtype:
            return self
        from ocijax.compiler import platform
        from ocijax.sample.loading import default_dtype

        return replace(self, dtype=default_dtype(platform()))


class CheckpointGenerator:
    """The model of a checkpoint, loaded when it is first asked; see `Generator`.

    Args:
      folder: of one step, or a Hugging Face folder.
      options: others of `ocijax.sample.loading.load_sampler`.
    """

    def __init__(self, folder: Path, **options: Any):
        self._folder = folder
        self._options = options
        self._loading = threading.Lock()

    @cached_property
    def _generator(self):
        # Going on with a run that is done needs no device.
        from ocijax.sample.context import ContextGenerator
        from ocijax.sample.loading import load_sampler

        sampler, model = load_sampler(self._folder, **self._options)
        context = model.config.max_position_embeddings
        return ContextGenerator(sampler, model.template, model.tokenizer, context)

    def generate(
        self, conversations: Sequence[Conversation], settings: SamplingSettings
    ) -> list[Completion]:
        """One completion for each conversation, in order; ``shortened`` counts those cut."""
        with self._loading:
            generator = self._generator
        return generator.generate(conversations, settings)

    @property
    def shortened(self) -> int:
        """How many conversations were asked without their oldest turns."""
        return self._generator.shortened if "_generator" in vars(self) else 0

    def forget(self, conversation: Conversation) -> None:
        """Passed on, unless no model was asked yet."""
        if "_generator" in vars(self):
            self._generator.forget(conversation)


def checkpoint_digest(folder: Path) -> str:
    """SHA-256 of the names and contents of all files that a checkpoint's answers come from.

    Args:
      folder: of one step, or a Hugging Face folder. Of an adapter, what it adapts counts as well.

    Raises:
      InputError: that is not there.
    """
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] not in _UNREAD:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{name} {content}\n".encode("utf-8", "surrogateescape"))
    if (folder / "adapter").is_dir():
        from ocijax.train.checkpoint import checkpoint_folder, load_description

        base = load_description(folder).adapter.base
        total.update(checkpoint_digest(checkpoint_folder(base)).encode())
    return total.hexdigest()
