from dataclasses import replace

import pytest

from ocijax.model.lora import LoraConfig, adapter_table
from ocijax.model.parameters import parameter_table
from ocijax.train.flops import training_flops
from ocijax.train.step import trained_table
from tests.train.conftest import MODEL

TIED = replace(MODEL, tie_word_embeddings=True)
TOKENS, ATTENDED = 10, 55


def sizes(table):
    """Of the matrices that take part in products, the embedding table left out."""
    return sum(spec.size for spec in table.values() if spec.inputs)


def products(model, trained=None):
    """Operations a token but those of attention, which nothing here changes."""
    attention = 12 * 2 * 4 * 8 * ATTENDED
    return (training_flops(model, TOKENS, ATTENDED, trained) - attention) / TOKENS


def test_a_trained_matrix_takes_six_operations_a_token():
    assert products(MODEL) == 6 * sizes(parameter_table(MODEL))


def test_a_tied_head_counts_as_one_of_its_own():
    assert products(TIED) == products(MODEL)


@pytest.mark.parametrize(("model", "gradients_left_out"), [(MODEL, 0), (TIED, 1)])
def test_a_frozen_head_has_no_gradient(recipe, change, model, gradients_left_out):
    frozen = change(replace(recipe, model=model), freeze_embedding=True)
    head = model.vocab_size * model.hidden_size
    left_out = 2 * head * gradients_left_out
    assert products(model, trained_table(frozen)) == products(model) - left_out


def test_under_an_adapter_nothing_else_has_a_gradient():
    adapter = adapter_table(MODEL, LoraConfig(rank=2))
    expected = 4 * sizes(parameter_table(MODEL)) + 6 * sizes(adapter)
    assert products(MODEL, adapter) == expected
