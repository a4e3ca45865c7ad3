"""``config.json`` files as they are published, against presets; what is refused; the way back."""

import json
import re
from dataclasses import replace

import pytest

from ocijax.errors import InputError
from ocijax.hugging_face.config import read_config, write_config
from ocijax.model.config import ModelConfig, RopeScaling
from ocijax.model.presets import PRESETS
from tests.golden.families import VARIANTS, read_reference
from tests.live import needs_transformers

# As transformers 4 wrote them, without ids of tokens; from the models' repositories.
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "model_type": "llama",
    "pretraining_tp": 1,
    "torch_dtype": "bfloat16",
    "use_cache": True,
}
QWEN = {
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "rope_theta": 1000000.0,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
PUBLISHED = {
    "codellama-7b": {
        **LLAMA,
        "_name_or_path": "codellama/CodeLlama-7b-hf",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "max_position_embeddings": 16384,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 32,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "tie_word_embeddings": False,
        "vocab_size": 32016,
    },
    "deepseek-coder-1.3b": {
        **LLAMA,
        "hidden_size": 2048,
        "intermediate_size": 5504,
        "max_position_embeddings": 16384,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "num_key_value_heads": 16,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {"factor": 4.0, "type": "linear"},
        "rope_theta": 100000,
        "tie_word_embeddings": False,
        "vocab_size": 32256,
    },
    "llama-3.1-8b": {
        **LLAMA,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
        "vocab_size": 128256,
    },
    "starcoder2-3b": {
        "architectures": ["Starcoder2ForCausalLM"],
        "attention_dropout": 0.1,
        "residual_dropout": 0.1,
        "embedding_dropout": 0.1,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 3072,
        "initializer_range": 0.018042,
        "intermediate_size": 12288,
        "max_position_embeddings": 16384,
        "mlp_type": "default",
        "model_type": "starcoder2",
        "norm_epsilon": 1e-05,
        "num_attention_heads": 24,
        "num_hidden_layers": 30,
        "num_key_value_heads": 2,
        "rope_theta": 999999.4420358813,
        "sliding_window": 4096,
        "transformers_version": "4.37.0.dev0",
        "use_bias": True,
        "use_cache": True,
        "vocab_size": 49152,
        "torch_dtype": "bfloat16",
    },
    "starcoder2-15b": {
        "_name_or_path": "/aot/checkpoints/15b/config.json",
        "architectures": ["Starcoder2ForCausalLM"],
        "attention_dropout": 0.0,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 6144,
        "initializer_range": 0.01275,
        "intermediate_size": 24576,
        "max_position_embeddings": 16384,
        "mlp_type": "default",
        "model_type": "starcoder2",
        "norm_epsilon": 1e-05,
        "norm_type": "layer_norm",
        "num_attention_heads": 48,
        "num_hidden_layers": 40,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-05,
        "rope_theta": 100000,
        "sliding_window": 4096,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "transformers_version": "4.37.0.dev0",
        "use_bias": True,
        "use_cache": True,
        "vocab_size": 49152,
    },
    "gemma-7b": {
        "architectures": ["GemmaForCausalLM"],
        "head_dim": 256,
        "hidden_act": "gelu",
        "hidden_activation": None,
        "hidden_size": 3072,
        "intermediate_size": 24576,
        "max_position_embeddings": 8192,
        "model_type": "gemma",
        "num_attention_heads": 16,
        "num_hidden_layers": 28,
        "num_key_value_heads": 16,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "torch_dtype": "bfloat16",
        "vocab_size": 256000,
    },
    "qwen2.5-coder-3b": {
        **QWEN,
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "max_position_embeddings": 32768,
        "max_window_layers": 36,
        "model_type": "qwen2",
        "num_attention_heads": 16,
        "num_hidden_layers": 36,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "use_mrope": False,
    },
    "qwen3-4b": {
        **QWEN,
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "head_dim": 128,
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "max_position_embeddings": 40960,
        "max_window_layers": 36,
        "model_type": "qwen3",
        "num_attention_heads": 32,
        "num_hidden_layers": 36,
        "num_key_value_heads": 8,
        "rms_norm_eps": 0.000001,
        "rope_scaling": None,
        "sliding_window": None,
        "tie_word_embeddings": True,
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_file_reads_as_the_preset(name):
    assert read_config(PUBLISHED[name]) == PRESETS[name]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_file_of_transformers_5_reads_as_the_older_form_that_we_write(variant):
    config = read_config(read_reference(variant).config)
    assert read_config(json.loads(json.dumps(write_config(config)))) == config


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_the_way_out_and_back(name):
    assert read_config(json.loads(json.dumps(write_config(PRESETS[name])))) == PRESETS[name]


@needs_transformers
@pytest.mark.parametrize("variant", VARIANTS)
def test_transformers_makes_of_what_we_write_the_model_it_came_from(variant, tmp_path):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from tests.golden.make_families import make_model

    theirs = read_reference(variant).config
    (tmp_path / "config.json").write_text(json.dumps(write_config(read_config(theirs))))
    written = AutoModelForCausalLM.from_config(
        AutoConfig.from_pretrained(tmp_path), attn_implementation="eager"
    ).eval()
    model = make_model(theirs)
    written.load_state_dict(model.state_dict())
    tokens = torch.arange(40)[None]
    torch.testing.assert_close(written(tokens).logits, model(tokens).logits, rtol=0, atol=0)


@pytest.mark.parametrize("architecture", ["MixtralForCausalLM", "Gemma2ForCausalLM"])
def test_an_unknown_architecture_is_refused_with_the_known_ones(architecture):
    message = (
        f"folder/config.json: architectures ['{architecture}'] is not known; known are "
        "LlamaForCausalLM, Starcoder2ForCausalLM, GemmaForCausalLM, Qwen2ForCausalLM, "
        "Qwen3ForCausalLM"
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        read_config({"architectures": [architecture]}, "folder/config.json")


def test_without_architectures_the_model_type_says_which_it_is():
    file = {key: value for key, value in PUBLISHED["gemma-7b"].items() if key != "architectures"}
    assert read_config(file) == PRESETS["gemma-7b"]


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("codellama-7b", "final_logit_softcapping", 30.0),
        ("codellama-7b", "num_local_experts", 8),
        ("codellama-7b", "quantization_config", {"quant_method": "gptq"}),
        ("codellama-7b", "partial_rotary_factor", 0.5),
        ("codellama-7b", "sliding_window", 4096),
        ("codellama-7b", "hidden_act", "relu"),
        ("codellama-7b", "auto_map", {"AutoModelForCausalLM": "modeling.Model"}),
        ("starcoder2-3b", "mlp_type", "gated"),
        ("starcoder2-3b", "norm_type", "rms_norm"),
        ("gemma-7b", "hidden_activation", "gelu"),
        ("gemma-7b", "use_bidirectional_attention", True),
        ("qwen2.5-coder-3b", "use_mrope", True),
        ("qwen2.5-coder-3b", "attention_bias", True),
    ],
)
def test_a_field_that_changes_what_is_computed_is_refused_by_name(name, field, value):
    with pytest.raises(InputError, match=rf"config\.json[:.] ?{field}\b"):
        read_config({**PUBLISHED[name], field: value})


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        (
            {"rope_type": "yarn", "factor": 4.0},
            "rope_scaling.rope_type: must be 'linear' or 'llama3', is 'yarn'",
        ),
        ({"type": "su", "factor": 2.0}, "rope_scaling.rope_type: must be 'linear' or 'llama3'"),
        ({"full_attention": {"rope_theta": 1e4}}, "rope_scaling.full_attention = {"),
        ({"type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5}, "rotary_factor = 0.5 is"),
        (4.0, "rope_scaling = 4.0 is not supported"),
        ({"type": "linear"}, "rope_scaling.factor: is missing"),
        ({"type": "linear", "factor": 2.0, "mscale": 1.0}, "rope_scaling.mscale: no such field"),
        ({"rope_type": "llama3", "factor": 8.0}, "rope_scaling.low_freq_factor must be positive"),
    ],
)
def test_a_rotary_scaling_that_we_do_not_know_is_refused_by_name(scaling, message):
    with pytest.raises(InputError, match=re.escape(message)):
        read_config({**PUBLISHED["codellama-7b"], "rope_scaling": scaling})


@pytest.mark.parametrize("field", ["vocab_size", "hidden_size", "num_hidden_layers"])
def test_a_missing_size_is_refused_by_name(field):
    file = {key: value for key, value in PUBLISHED["codellama-7b"].items() if key != field}
    with pytest.raises(InputError, match=rf"config\.json\.{field}: is missing"):
        read_config(file)


def test_a_size_that_is_no_number_is_refused_by_name():
    with pytest.raises(
        InputError, match=r"config\.json\.num_attention_heads: must be int, is '32'"
    ):
        read_config({**PUBLISHED["codellama-7b"], "num_attention_heads": "32", "head_dim": 128})


WINDOW = {**PUBLISHED["qwen2.5-coder-3b"], "use_sliding_window": True}


@pytest.mark.parametrize(
    ("fields", "window"),
    [
        ({"max_window_layers": 36}, None),
        ({"max_window_layers": 0}, 32768),
        ({"layer_types": ["sliding_attention"] * 36}, 32768),
        ({"layer_types": ["full_attention"] * 36}, None),
        ({"use_sliding_window": False, "max_window_layers": 0}, None),
    ],
)
def test_a_window_holds_for_all_layers_or_for_none(fields, window):
    assert read_config({**WINDOW, **fields}).sliding_window == window


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_window_layers", 18),
        ("layer_types", ["full_attention"] * 18 + ["sliding_attention"] * 18),
    ],
)
def test_a_window_in_some_of_the_layers_is_refused_by_name(field, value):
    with pytest.raises(InputError, match=f"{field} = .* is not supported"):
        read_config({**WINDOW, field: value})


def test_a_model_that_no_architecture_computes_is_refused_with_what_it_would_take():
    config = replace(PRESETS["codellama-7b"], sliding_window=1024)
    message = "LlamaForCausalLM would need model.sliding_window=None for 1024"
    with pytest.raises(InputError, match=re.escape(message)):
        write_config(config)


def test_an_older_field_for_heads_and_their_width_may_be_left_out():
    file = {**PUBLISHED["codellama-7b"]}
    del file["num_key_value_heads"]
    config = read_config(file)
    assert (config.num_key_value_heads, config.head_dim) == (32, 128)


def test_scaling_goes_out_with_its_own_fields_only():
    config = replace(PRESETS["codellama-7b"], rope_scaling=RopeScaling("linear", 2.0))
    assert isinstance(config, ModelConfig)
    assert write_config(config)["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}
