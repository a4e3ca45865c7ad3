"""A Hugging Face ``config.json`` as a `ModelConfig`, and back.

Each architecture is a row of `ARCHITECTURES`: what it fixes, and how it names what it leaves open.
A field that no row knows is refused, since it may change what the model computes.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ocijax.configuration import differences, from_mapping, to_mapping
from ocijax.errors import InputError
from ocijax.model.config import ModelConfig, RopeScaling

_SAME_NAME = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "hidden_act",
    "tie_word_embeddings",
)
"""Fields that every architecture has under the name that `ModelConfig` gives them."""

_NO_PART_OF_THE_FORWARD = frozenset(
    {
        # What kind of file it is, and which software wrote it.
        "_name_or_path",
        "architectures",
        "model_type",
        "name_or_path",
        "tokenizer_class",
        "transformers_version",
        "torch_dtype",
        "dtype",
        "_attn_implementation_autoset",
        "attn_implementation",
        # Special tokens and generation.
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "use_cache",
        "cache_implementation",
        # How it was initialised and trained: dropout belongs to the recipe, and ours has none.
        "initializer_range",
        "attention_dropout",
        "residual_dropout",
        "embedding_dropout",
        # How the same products are cut up, and what else transformers gives back.
        "pretraining_tp",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
        "chunk_size_feed_forward",
        "is_decoder",
        # Of classifiers.
        "id2label",
        "label2id",
        "problem_type",
    }
)

_ONLY_VALUES: Mapping[str, tuple[Any, ...]] = {
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
    "partial_rotary_factor": (None, 1.0),
    "quantization_config": (None,),
    "use_bidirectional_attention": (None, False),
    "use_mrope": (False,),
}
"""Fields that may stand in the file of any architecture with these values only."""


@dataclass(frozen=True)
class Architecture:
    """How one class of transformers relates to `ModelConfig`.

    Attributes:
      name: the class, as ``architectures`` names it.
      model_type: its short name in the file.
      fixed: our fields that it fixes to other values than the defaults of `ModelConfig`.
      renamed: our fields by the name of theirs that sets them.
      defaults: what the class takes where the file is silent, by our names.
      window: the fields that set the window: ``sliding_window`` alone, or with
        ``use_sliding_window`` and which layers it holds for; none where there is no window.
      only: further fields, and the only values of them that we support.
    """

    name: str
    model_type: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    window: tuple[str, ...] = ()
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


_ATTENTION_BIAS = ("query_key_value_bias", "attention_output_bias")
_WINDOW_BY_LAYER = ("sliding_window", "use_sliding_window", "max_window_layers", "layer_types")

ARCHITECTURES = (
    Architecture(
        "LlamaForCausalLM",
        "llama",
        renamed={
            "rms_norm_eps": ("norm_eps",),
            "attention_bias": _ATTENTION_BIAS,
            "mlp_bias": ("mlp_bias",),
        },
        defaults={"max_position_embeddings": 2048},
        only={"sliding_window": (None,)},
    ),
    Architecture(
        "Starcoder2ForCausalLM",
        "starcoder2",
        fixed={"norm": "layer_norm", "gated_mlp": False},
        renamed={"norm_epsilon": ("norm_eps",), "use_bias": (*_ATTENTION_BIAS, "mlp_bias")},
        defaults={
            "max_position_embeddings": 4096,
            "hidden_act": "gelu_pytorch_tanh",
            "norm_eps": 1e-5,
            "query_key_value_bias": True,
            "attention_output_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": True,
        },
        window=("sliding_window",),
        # Of the first files that were published; what the last one says holds for other norms.
        only={"mlp_type": ("default",), "norm_type": ("layer_norm",), "rms_norm_eps": (1e-5,)},
    ),
    Architecture(
        "GemmaForCausalLM",
        "gemma",
        fixed={
            "norm_unit_offset": True,
            "scale_embedding": True,
            "hidden_act": "gelu_pytorch_tanh",
        },
        renamed={"rms_norm_eps": ("norm_eps",), "attention_bias": _ATTENTION_BIAS},
        defaults={
            "max_position_embeddings": 8192,
            "head_dim": 256,
            "tie_word_embeddings": True,
        },
        # The first files say "gelu" and mean the approximation by tanh.
        only={
            "hidden_act": ("gelu", "gelu_pytorch_tanh"),
            "hidden_activation": (None, "gelu_pytorch_tanh"),
        },
    ),
    Architecture(
        "Qwen2ForCausalLM",
        "qwen2",
        fixed={"query_key_value_bias": True},
        renamed={"rms_norm_eps": ("norm_eps",)},
        defaults={"max_position_embeddings": 32768},
        window=_WINDOW_BY_LAYER,
    ),
    Architecture(
        "Qwen3ForCausalLM",
        "qwen3",
        fixed={"query_key_norm": True},
        renamed={"rms_norm_eps": ("norm_eps",), "attention_bias": _ATTENTION_BIAS},
        defaults={"max_position_embeddings": 32768, "head_dim": 128},
        window=_WINDOW_BY_LAYER,
    ),
)
"""The architectures that the decoder can be."""


def read_config(file: Mapping[str, Any], name: str = "config.json") -> ModelConfig:
    """The shape that a ``config.json`` describes.

    What the file leaves out is what the class of transformers takes for it.

    Args:
      file: the parsed file, as transformers 4 or 5 writes it.
      name: what messages call the file.

    Raises:
      InputError: an unknown architecture (the known ones are listed), a field that is missing or
        not understood, or a value that is not supported; the field is named.
    """
    architecture = _architecture(file, name)
    _refuse_unknown(file, architecture, name)
    values = {**architecture.defaults}
    for theirs, ours in _names(architecture).items():
        if file.get(theirs) is not None:
            values |= dict.fromkeys(ours, file[theirs])
    values |= architecture.fixed
    values |= _read_rope(file, name)
    values["sliding_window"] = _read_window(file, architecture, name)
    heads, width = values.get("num_attention_heads"), values.get("hidden_size")
    if isinstance(heads, int) and isinstance(width, int) and heads > 0:
        values = {"num_key_value_heads": heads, "head_dim": width // heads, **values}
    return from_mapping(ModelConfig, values, name)


def write_config(config: ModelConfig) -> dict[str, Any]:
    """The ``config.json`` of a model, which transformers 4 and 5, and `read_config`, understand.

    Ids of special tokens and the dtype of the weights are the caller's to add.

    Raises:
      InputError: no architecture computes this; what the nearest one would change is named.
    """
    changes = {}
    for architecture in ARCHITECTURES:
        written = _write(config, architecture)
        found = read_config(written)
        if found == config:
            return written
        changes[architecture.name] = list(
            differences(to_mapping(config), to_mapping(found), "model")
        )
    nearest = min(changes, key=lambda name: len(changes[name]))
    raise InputError(
        f"no architecture of transformers computes this model; {nearest} would need "
        + ", ".join(f"{path}={theirs} for {ours}" for path, ours, theirs in changes[nearest])
    )


def _architecture(file: Mapping[str, Any], name: str) -> Architecture:
    """The row that ``architectures`` names, or ``model_type`` where that is all there is."""
    wanted = file.get("architectures") or [file.get("model_type")]
    for architecture in ARCHITECTURES:
        if wanted in ([architecture.name], [architecture.model_type]):
            return architecture
    known = ", ".join(architecture.name for architecture in ARCHITECTURES)
    raise InputError(f"{name}: architectures {wanted} is not known; known are {known}")


def _names(architecture: Architecture) -> Mapping[str, tuple[str, ...]]:
    """Our fields by theirs, but for rotary scaling and window."""
    return {**{name: (name,) for name in _SAME_NAME}, **architecture.renamed}


def _refuse_unknown(file: Mapping[str, Any], architecture: Architecture, name: str) -> None:
    only = {**_ONLY_VALUES, **architecture.only}
    known = {
        *_NO_PART_OF_THE_FORWARD,
        *_names(architecture),
        *architecture.window,
        *("rope_theta", "rope_scaling", "rope_parameters"),
    }
    for key, value in file.items():
        if key in only:
            _refuse_unless(value in only[key], name, key, value, only[key])
        elif key not in known:
            raise InputError(
                f"{name}: {key} = {value!r} is not supported for {architecture.name}; remove it if "
                "it changes nothing that the model computes"
            )


def _refuse_unless(
    supported: bool, name: str, key: str, value: Any, values: Iterable[Any] = ()
) -> None:
    if not supported:
        only = " or ".join(map(repr, values))
        raise InputError(f"{name}: {key} = {value!r} is not supported{only and f', only {only}'}")


def _read_rope(file: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Our ``rope_theta`` and ``rope_scaling``; ``rope_parameters``, of transformers 5, is both."""
    scaling = file.get("rope_scaling") or file.get("rope_parameters") or {}
    _refuse_unless(isinstance(scaling, Mapping), name, "rope_scaling", scaling)
    scaling = dict(scaling)
    theta = scaling.pop("rope_theta", file.get("rope_theta"))
    values = {} if theta is None else {"rope_theta": theta}
    older = scaling.pop("type", "default")
    kind = scaling.setdefault("rope_type", older)
    partial = scaling.pop("partial_rotary_factor", 1.0)
    _refuse_unless(partial == 1.0, name, "rope_scaling.partial_rotary_factor", partial, (1.0,))
    if kind != "default":
        values["rope_scaling"] = from_mapping(RopeScaling, scaling, f"{name}: rope_scaling")
    else:
        for key in scaling.keys() - {"rope_type"}:
            _refuse_unless(False, name, f"rope_scaling.{key}", scaling[key])
    return values


def _read_window(file: Mapping[str, Any], architecture: Architecture, name: str) -> int | None:
    """Our ``sliding_window``; one that holds for some of the layers only is refused."""
    window = file.get("sliding_window") if architecture.window else None
    if "use_sliding_window" not in architecture.window:
        return window
    if not file.get("use_sliding_window", False) or window is None:
        return None
    kinds = file.get("layer_types")
    if kinds is not None:
        _refuse_unless(len(set(kinds)) == 1, name, "layer_types", kinds, ("one kind",))
        return window if set(kinds) == {"sliding_attention"} else None
    # Layers from this one on have the window.
    first, layers = file.get("max_window_layers", 28), file.get("num_hidden_layers")
    some = not isinstance(first, int) or (isinstance(layers, int) and 0 < first < layers)
    _refuse_unless(not some, name, "max_window_layers", first, (0, layers))
    return window if first <= 0 else None


def _write(config: ModelConfig, architecture: Architecture) -> dict[str, Any]:
    """The file of the model of this architecture that is most like ``config``."""
    file = {"architectures": [architecture.name], "model_type": architecture.model_type}
    for theirs, ours in _names(architecture).items():
        file[theirs] = architecture.fixed.get(ours[0], getattr(config, ours[0]))
    file["rope_theta"] = config.rope_theta
    scaling = config.rope_scaling
    file["rope_scaling"] = scaling and {
        key: value for key, value in dataclasses.asdict(scaling).items() if value is not None
    }
    if architecture.window:
        file["sliding_window"] = config.sliding_window
    if "use_sliding_window" in architecture.window:
        file["use_sliding_window"] = config.sliding_window is not None
        file["max_window_layers"] = 0 if config.sliding_window else config.num_hidden_layers
    return file
