"""The language model of every cell, and the sizes that make cells comparable."""

import copy
from dataclasses import asdict, replace

import pytest
import torch
from torch.nn import functional as F

from unrolled.errors import OptionError, ShapeError
from unrolled.networks import LanguageModel, LanguageModelConfig, hidden_size_for
from unrolled.networks.sequence_layers import CELLS

SMALL = LanguageModelConfig(vocabulary_size=5, hidden_size=4, num_layers=2)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("embedding_size", [None, 3])
def test_two_halves_equal_the_whole(cell, embedding_size):
    config = replace(SMALL, cell=cell, embedding_size=embedding_size)
    model = LanguageModel(config).double()
    tokens = torch.randint(5, (3, 8))
    whole, _ = model(tokens)
    assert whole.shape == (3, 8, 5)
    first, state = model(tokens[:, :3], model.initial_state(3))
    second, _ = model(tokens[:, 3:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)


@pytest.mark.parametrize("cell", CELLS)
def test_later_tokens_change_no_earlier_score(cell):
    model = LanguageModel(replace(SMALL, cell=cell)).double()
    tokens = torch.tensor([[0, 1, 2, 3, 4, 0]])
    changed = torch.tensor([[0, 1, 2, 4, 0, 3]])
    torch.testing.assert_close(model(tokens)[0][:, :3], model(changed)[0][:, :3])


def test_one_hot_input_is_an_embedding_in_the_identity():
    one_hot = LanguageModel(SMALL)
    embedded = LanguageModel(replace(SMALL, embedding_size=5))
    weights = one_hot.state_dict() | {"embedding.weight": torch.eye(5)}
    embedded.load_state_dict(weights)
    tokens = torch.randint(5, (3, 8))
    torch.testing.assert_close(embedded(tokens)[0], one_hot(tokens)[0])


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "janet"])
def test_the_weights_of_one_hot_input_start_as_large_as_one_feature_needs(cell):
    one_hot = LanguageModel(replace(SMALL, cell=cell, hidden_size=100))
    embedded = LanguageModel(replace(SMALL, cell=cell, hidden_size=100, embedding_size=5))
    assert 0.9 < one_hot.layer.weight_ih_l0.abs().max() <= 1
    assert embedded.layer.weight_ih_l0.abs().max() <= 0.1  # torch's 1 / sqrt(H)
    assert one_hot.layer.weight_ih_l1.abs().max() <= 0.1


def test_scores_are_linear_in_the_layers_output():
    model = LanguageModel(SMALL).double()
    tokens = torch.randint(5, (3, 8))
    h, _ = model.layer(torch.eye(5, dtype=torch.float64)[tokens])
    expected = h @ model.scores.weight.T + model.scores.bias
    torch.testing.assert_close(model(tokens)[0], expected)


def test_a_few_updates_learn_hello():
    torch.manual_seed(0)
    model = LanguageModel(LanguageModelConfig(vocabulary_size=4, cell="rnn", hidden_size=8))
    tokens = torch.tensor([[0, 1, 2, 2, 3]])  # h e l l o
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(100):
        scores, _ = model(tokens[:, :-1])
        optimizer.zero_grad()
        F.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
    assert torch.equal(model(tokens[:, :-1])[0].argmax(-1), tokens[:, 1:])


def test_dropout_acts_between_the_layers_and_before_the_scores_in_training_only():
    model = LanguageModel(replace(SMALL, dropout=1.0))
    tokens = torch.randint(5, (3, 8))
    assert torch.equal(model(tokens)[0], model.scores.bias.expand(3, 8, 5))
    one_hot = torch.eye(5)[tokens]
    assert torch.equal(model.layer(one_hot)[0], model.layer(torch.zeros_like(one_hot))[0])
    model.eval()
    assert not torch.equal(model.layer(one_hot)[0], model.layer(torch.zeros_like(one_hot))[0])
    assert torch.equal(model(tokens)[0], model(tokens)[0])


def test_a_copy_built_from_plain_values_gives_the_same_scores():
    config = replace(SMALL, cell="tcn", embedding_size=3, kernel_size=2)
    model = LanguageModel(config)
    rebuilt = LanguageModel(LanguageModelConfig(**asdict(config)))
    rebuilt.load_state_dict(copy.deepcopy(model).state_dict())
    tokens = torch.randint(5, (3, 8))
    assert torch.equal(rebuilt(tokens)[0], model(tokens)[0])


@pytest.mark.parametrize(
    "tokens",
    [torch.zeros(8, dtype=torch.int64), torch.zeros(3, 8), torch.zeros(3, 8, dtype=torch.int32)],
    ids=["unbatched", "float", "int32"],
)
def test_tokens_that_are_not_a_batch_of_int64_are_refused(tokens):
    with pytest.raises(ShapeError, match=r"tokens must be \(B, T\) torch.int64, got \("):
        LanguageModel(SMALL)(tokens)


@pytest.mark.parametrize(
    "name", ["vocabulary_size", "hidden_size", "num_layers", "embedding_size", "kernel_size"]
)
def test_a_size_below_one_is_refused_by_name(name):
    sizes = {"vocabulary_size": 5, "cell": "tcn"} | {name: 0}
    with pytest.raises(OptionError, match=f"{name} must be at least 1, got 0"):
        LanguageModelConfig(**sizes)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"cell": "lst"}, "cell must be one of"),
        ({"dropout": 1.5}, "dropout must be a probability"),
        ({"kernel_size": 3}, "kernel_size is for tcn and conv"),
    ],
)
def test_a_config_that_makes_no_model_is_refused(wrong, complaint):
    with pytest.raises(OptionError, match=complaint):
        replace(SMALL, **wrong)


# ---- equal budgets --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "by_hand"),
    [
        ("rnn", lambda v, h: h * (v + h + 2)),
        ("lstm", lambda v, h: 4 * h * (v + h + 2)),
        ("gru", lambda v, h: 3 * h * (v + h + 2)),
        ("janet", lambda v, h: 2 * h * (v + h + 2)),
        # Two weight-normalised convolutions of 3 taps (gain and bias), and the 1x1 shortcut.
        ("tcn", lambda v, h: h * (3 * v + 2) + h * (3 * h + 2) + h * (v + 1)),
        ("dense", lambda v, h: h * (v + 1)),
        ("conv", lambda v, h: h * (8 * v + 1)),
    ],
)
def test_number_of_parameters_is_that_counted_by_hand(cell, by_hand):
    model = LanguageModel(LanguageModelConfig(vocabulary_size=65, cell=cell, hidden_size=7))
    assert model.num_parameters == by_hand(65, 7) + 65 * (7 + 1)


def of_size(config):
    return lambda size: LanguageModel(replace(config, hidden_size=size))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("num_layers", [1, 3])
def test_hidden_size_is_the_largest_within_the_budget(cell, num_layers):
    config = replace(SMALL, cell=cell, num_layers=num_layers)
    for budget in (200, 9_999):
        size = hidden_size_for(of_size(config), budget)
        within, beyond = (LanguageModel(replace(config, hidden_size=size + n)) for n in (0, 1))
        assert within.num_parameters <= budget < beyond.num_parameters


def test_a_budget_below_one_unit_is_refused():
    smallest = LanguageModel(replace(SMALL, hidden_size=1)).num_parameters
    assert hidden_size_for(of_size(SMALL), smallest) == 1
    with pytest.raises(
        OptionError, match=f"no model of this kind fits in {smallest - 1} parameters"
    ):
        hidden_size_for(of_size(SMALL), smallest - 1)
