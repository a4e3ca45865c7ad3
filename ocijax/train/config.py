"""A training recipe as frozen dataclasses; `ocijax.configuration.from_mapping` fills them.

The defaults are those of the OpenCodeInterpreter paper (arXiv 2402.14658) where it states them:
learning rate 2e-5, cosine with 5 % warm-up, 3 epochs, 4,096 tokens. It is silent on the rest.
"""

from dataclasses import dataclass, field
from typing import Literal

from ocijax.conversation import RepeatedUser
from ocijax.data.weights import POLICIES
from ocijax.model.config import ModelConfig
from ocijax.model.decoder import ComputeConfig
from ocijax.model.lora import LoraConfig, adapted_weights
from ocijax.model.remat import Remat
from ocijax.sharding import MeshConfig


@dataclass(frozen=True)
class DataConfig:
    """Where the conversations come from and how they become rows.

    Attributes:
      train: conversation files (JSONL) or TFDS folders, packed when training starts; or one folder
        that ``datasets_build.pack`` wrote.
      tokenizer: a ``tokenizer.model`` or ``tokenizer.json``, or a folder with one.
      template: name of the chat template, see `ocijax.template.get_template`.
      evaluation: conversations for the evaluation loss; empty: those that ``holdout`` leaves.
      holdout: fraction of ``train`` that is held out; a packed folder has its own.
      length: tokens in a row.
      policy: which turns are trained, one of `ocijax.data.weights.POLICIES`.
      repeated_user: what becomes of two user turns in a row.
    """

    train: tuple[str, ...]
    tokenizer: str
    template: str
    evaluation: tuple[str, ...] = ()
    holdout: float = 0.0
    length: int = 4096
    policy: str = "all"
    repeated_user: RepeatedUser = "refuse"

    def __post_init__(self):
        """Raises ValueError, beginning with the field, where there is nothing to train on."""
        if not self.train:
            raise ValueError("train names no file: give one, as in --config.data.train=FILE")
        if not self.tokenizer:
            raise ValueError("tokenizer is empty: give one, as in --config.data.tokenizer=FILE")
        if self.length < 2:
            raise ValueError(f"length must be at least 2 tokens, is {self.length}")
        if not 0 <= self.holdout < 1:
            raise ValueError(f"holdout must lie in [0, 1), is {self.holdout}")
        if self.policy not in POLICIES:
            raise ValueError(f"policy must be one of {', '.join(POLICIES)}, is {self.policy!r}")


@dataclass(frozen=True)
class TrainConfig:
    """The optimisation: AdamW (arXiv 1711.05101) under a warm-up and a cosine to zero.

    Attributes:
      batch_size: rows a step, over all devices.
      micro_batches: the batch is run in this many parts, one after the other; same result.
      epochs: passes over the rows; counts where ``steps`` is 0.
      steps: optimizer steps; 0: as many as the epochs need.
      learning_rate: peak, reached at the end of the warm-up.
      warmup_fraction: part of the steps with a linear warm-up.
      b1: decay of AdamW's first moment.
      b2: decay of AdamW's second moment.
      epsilon: AdamW's, added to the root of the second moment.
      weight_decay: decoupled, times the learning rate; norms and biases are not.
      moments_dtype: that AdamW's two moments are kept in, ``float32`` standing for the parameters'
        own; in ``bfloat16`` they take half the memory, and ``b1`` and ``b2`` may be 0.99 at most.
      clip_norm: gradients with a larger global norm are scaled down to it; 0: never.
      skip_nonfinite: a step whose gradient is not finite changes nothing.
      spike_threshold: nor does one whose gradient norm is larger than this many times the running
        mean, see `ocijax.train.guard`; 0: all norms will do.
      most_skipped: the run gives up after so many steps in a row that changed nothing.
      freeze_embedding: the embedding table stays as it is, and with it the head that it may be.
      remat: what the backward pass computes again instead of holding it, see
        `ocijax.model.remat.Remat`; ``auto``: the fastest that fits the devices, found by compiling.
      logits_chunk: positions of a row whose logits are held at once.
      log_every: steps between two reports.
      evaluate_every: steps between two evaluation losses; 0: at the end only.
      checkpoint_every: steps between two checkpoints; one is always written at the end.
      checkpoints_kept: how many checkpoints stay, the latest ones; beside these that with the
        lowest evaluation loss, of those that were written right after an evaluation.
      checkpoint_keep_every: those of steps that this divides stay as well; 0: none for that.
      initial_checkpoint: a checkpoint, or a Hugging Face folder, whose parameters training starts
        from; empty: fresh ones.
      profile_steps: first and last step to trace into WORKDIR/profile; empty: none.
      peak_flops: of one device in the compute dtype, for the MFU; 0: as known for its kind.
    """

    batch_size: int = 64
    micro_batches: int = 1
    epochs: int = 3
    steps: int = 0
    learning_rate: float = 2e-5
    warmup_fraction: float = 0.05
    b1: float = 0.9
    b2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    moments_dtype: Literal["float32", "bfloat16"] = "float32"
    clip_norm: float = 1.0
    skip_nonfinite: bool = True
    spike_threshold: float = 0.0
    most_skipped: int = 10
    freeze_embedding: bool = False
    remat: Literal[Remat, "auto"] = "full"
    logits_chunk: int = 512
    log_every: int = 10
    evaluate_every: int = 0
    checkpoint_every: int = 500
    checkpoints_kept: int = 2
    checkpoint_keep_every: int = 0
    initial_checkpoint: str = ""
    profile_steps: tuple[int, ...] = ()
    peak_flops: float = 0.0

    def __post_init__(self):
        """Raises ValueError, beginning with the field, where a number makes no sense."""
        for name in (
            "batch_size",
            "micro_batches",
            "logits_chunk",
            "log_every",
            "checkpoint_every",
            "checkpoints_kept",
            "most_skipped",
            "learning_rate",
            "epsilon",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, is {getattr(self, name)}")
        for name in (
            "steps",
            "evaluate_every",
            "weight_decay",
            "clip_norm",
            "spike_threshold",
            "checkpoint_keep_every",
            "peak_flops",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, is {getattr(self, name)}")
        for name in ("warmup_fraction", "b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), is {getattr(self, name)}")
        if self.moments_dtype == "bfloat16" and max(self.b1, self.b2) > 0.99:
            # Eight bits: a moment that changes by less than 1 % a step stays where it is.
            raise ValueError(
                f"moments_dtype is bfloat16, which b1 ({self.b1}) and b2 ({self.b2}) above 0.99 "
                "are too slow for"
            )
        if self.profile_steps:
            first, last = self.profile_steps[0], self.profile_steps[-1]
            if len(self.profile_steps) != 2 or not 0 < first <= last:
                raise ValueError(
                    "profile_steps must be the first and the last step to trace, as in "
                    f"--config.train.profile_steps=10,15, is {self.profile_steps}"
                )
        if not self.steps and self.epochs <= 0:
            raise ValueError(f"epochs must be positive where steps is 0, is {self.epochs}")
        if self.batch_size % self.micro_batches:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of micro_batches "
                f"({self.micro_batches})"
            )


@dataclass(frozen=True)
class Recipe:
    """One training run, whole.

    Attributes:
      model: shape of the decoder.
      data: conversations, tokenizer, template, rows.
      train: the optimisation.
      compute: how the forward runs.
      mesh: devices along each mesh axis.
      lora: trains an adapter of ``train.initial_checkpoint`` instead of all its parameters.
      seed: of the initial parameters and of the data order.
    """

    model: ModelConfig
    data: DataConfig
    train: TrainConfig = field(default_factory=TrainConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    seed: int = 0

    def __post_init__(self):
        """Raises ValueError where the parts contradict each other."""
        if self.data.length > self.model.max_position_embeddings:
            raise ValueError(
                f"data.length ({self.data.length}) exceeds model.max_position_embeddings "
                f"({self.model.max_position_embeddings})"
            )
        if (
            self.data.length > self.train.logits_chunk
            and self.data.length % self.train.logits_chunk
        ):
            raise ValueError(
                f"train.logits_chunk ({self.train.logits_chunk}) must divide data.length "
                f"({self.data.length}), or exceed it"
            )
        if self.lora.rank:
            if not self.train.initial_checkpoint:
                raise ValueError(
                    "train.initial_checkpoint is empty: lora.rank needs a model to adapt"
                )
            try:
                adapted_weights(self.model, self.lora)
            except ValueError as error:
                raise ValueError(f"lora.{error}") from error


FREE_TO_CHANGE = frozenset(
    {
        "config.mesh.data",
        "config.mesh.fsdp",
        "config.mesh.context",
        "config.mesh.tensor",
        "config.compute.attention",
        "config.compute.scan_layers",
        "config.train.skip_nonfinite",
        "config.train.spike_threshold",
        "config.train.most_skipped",
        "config.train.remat",
        "config.train.micro_batches",
        "config.train.logits_chunk",
        "config.train.log_every",
        "config.train.evaluate_every",
        "config.train.checkpoint_every",
        "config.train.checkpoints_kept",
        "config.train.checkpoint_keep_every",
        "config.train.profile_steps",
        "config.train.peak_flops",
    }
)
"""Fields that a run may change when it goes on: they change no result but for rounding, or how a
run goes on that would fail."""
