"""The language model of every cell, and the sizes that make cells comparable."""

import json

import pytest
import torch
from torch.nn import functional as F

from unrolled import LanguageModel
from unrolled.errors import OptionError, ShapeError
from unrolled.networks import LAYERS, LayerOptions, count_parameters, hidden_size_for

DROP_ALL = 1 - 1e-9


def make(embedding_size=None, vocabulary_size=5, **layer):
    options = LayerOptions(**{"hidden_size": 4, "num_layers": 2} | layer)
    return LanguageModel(options, vocabulary_size=vocabulary_size, embedding_size=embedding_size)


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("embedding_size", [None, 3])
def test_two_halves_equal_the_whole(cell, embedding_size):
    model = make(embedding_size, cell=cell).double()
    tokens = torch.randint(5, (3, 8))
    whole, _ = model(tokens)
    assert whole.shape == (3, 8, 5)
    first, state = model(tokens[:, :3], model.initial_state(3))
    second, _ = model(tokens[:, 3:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)


@pytest.mark.parametrize("cell", LAYERS)
def test_later_tokens_change_no_earlier_score(cell):
    model = make(cell=cell).double()
    tokens = torch.tensor([[0, 1, 2, 3, 4, 0]])
    changed = torch.tensor([[0, 1, 2, 4, 0, 3]])
    torch.testing.assert_close(model(tokens)[0][:, :3], model(changed)[0][:, :3])


def test_one_hot_input_is_an_embedding_in_the_identity():
    one_hot = make()
    embedded = make(embedding_size=5)
    weights = one_hot.state_dict() | {"embedding.weight": torch.eye(5)}
    embedded.load_state_dict(weights)
    tokens = torch.randint(5, (3, 8))
    torch.testing.assert_close(embedded(tokens)[0], one_hot(tokens)[0])


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "janet"])
def test_the_weights_of_one_hot_input_start_as_large_as_one_feature_needs(cell):
    one_hot = make(cell=cell, hidden_size=100)
    embedded = make(cell=cell, hidden_size=100, embedding_size=5)
    assert 0.9 < one_hot.layer.weight_ih_l0.abs().max() <= 1
    assert embedded.layer.weight_ih_l0.abs().max() <= 0.1  # torch's 1 / sqrt(H)
    assert one_hot.layer.weight_ih_l1.abs().max() <= 0.1


def test_scores_are_linear_in_the_layers_output():
    model = make().double()
    tokens = torch.randint(5, (3, 8))
    h, _ = model.layer(torch.eye(5, dtype=torch.float64)[tokens])
    expected = h @ model.scores.weight.T + model.scores.bias
    torch.testing.assert_close(model(tokens)[0], expected)


def test_a_few_updates_learn_hello():
    torch.manual_seed(0)
    model = make(vocabulary_size=4, cell="rnn", hidden_size=8, num_layers=1)
    tokens = torch.tensor([[0, 1, 2, 2, 3]])  # h e l l o
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(100):
        scores, _ = model(tokens[:, :-1])
        optimizer.zero_grad()
        F.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
    assert torch.equal(model(tokens[:, :-1])[0].argmax(-1), tokens[:, 1:])


def test_dropout_acts_between_the_layers_and_before_the_scores_in_training_only():
    model = make(dropout=DROP_ALL)
    tokens = torch.randint(5, (3, 8))
    assert torch.equal(model(tokens)[0], model.scores.bias.expand(3, 8, 5))
    one_hot = torch.eye(5)[tokens]
    assert torch.equal(model.layer(one_hot)[0], model.layer(torch.zeros_like(one_hot))[0])
    model.eval()
    assert not torch.equal(model.layer(one_hot)[0], model.layer(torch.zeros_like(one_hot))[0])
    assert torch.equal(model(tokens)[0], model(tokens)[0])


def test_a_copy_built_from_plain_values_gives_the_same_scores():
    model = make(embedding_size=3, cell="tcn", kernel_size=2)
    options = LayerOptions(**json.loads(json.dumps(model.options.to_dict())))
    rebuilt = LanguageModel(options, vocabulary_size=5, embedding_size=3)
    rebuilt.load_state_dict(model.state_dict())
    tokens = torch.randint(5, (3, 8))
    assert torch.equal(rebuilt(tokens)[0], model(tokens)[0])


@pytest.mark.parametrize(
    "tokens",
    [torch.zeros(8, dtype=torch.int64), torch.zeros(3, 8), torch.zeros(3, 8, dtype=torch.int32)],
    ids=["unbatched", "float", "int32"],
)
def test_tokens_that_are_not_a_batch_of_int64_are_refused(tokens):
    with pytest.raises(ShapeError, match=r"tokens must be \(B, T\) torch.int64, got \("):
        make()(tokens)


@pytest.mark.parametrize(
    "name", ["vocabulary_size", "hidden_size", "num_layers", "embedding_size", "kernel_size"]
)
def test_a_size_below_one_is_refused_by_name(name):
    with pytest.raises(OptionError, match=f"{name} must be at least 1, got 0"):
        make(**{"cell": "tcn"} | {name: 0})


# ---- equal budgets --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "by_hand"),
    [
        ("rnn", lambda v, h: h * (v + h + 2)),
        ("rnn_relu", lambda v, h: h * (v + h + 2)),
        ("lstm", lambda v, h: 4 * h * (v + h + 2)),
        ("gru", lambda v, h: 3 * h * (v + h + 2)),
        ("gru_reset_before", lambda v, h: 3 * h * (v + h + 2)),
        ("janet", lambda v, h: 2 * h * (v + h + 2)),
        # Two weight-normalised convolutions of 3 taps (gain and bias), and the 1x1 shortcut.
        ("tcn", lambda v, h: h * (3 * v + 2) + h * (3 * h + 2) + h * (v + 1)),
        ("dense", lambda v, h: h * (v + 1)),
        ("conv", lambda v, h: h * (8 * v + 1)),
    ],
)
def test_number_of_parameters_is_that_counted_by_hand(cell, by_hand):
    model = make(vocabulary_size=65, cell=cell, hidden_size=7, num_layers=1)
    assert count_parameters(model) == by_hand(65, 7) + 65 * (7 + 1)


def of_size(**layer):
    return lambda size: make(**layer, hidden_size=size)


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("num_layers", [1, 3])
def test_hidden_size_is_the_largest_within_the_budget(cell, num_layers):
    sized = of_size(cell=cell, num_layers=num_layers)
    for budget in (200, 9_999):
        size = hidden_size_for(sized, budget)
        within, beyond = (count_parameters(sized(size + n)) for n in (0, 1))
        assert within <= budget < beyond


def test_of_a_cell_with_heads_the_hidden_size_is_the_largest_multiple_of_them():
    sized = of_size(cell="slstm_heads", num_layers=1)
    size = hidden_size_for(sized, 9_999, multiple_of=4)
    assert size % 4 == 0
    assert count_parameters(sized(size)) <= 9_999 < count_parameters(sized(size + 4))


def test_a_budget_below_one_unit_is_refused():
    smallest = count_parameters(make(hidden_size=1))
    assert hidden_size_for(of_size(), smallest) == 1
    with pytest.raises(
        OptionError, match=f"no model of this kind fits in {smallest - 1} parameters"
    ):
        hidden_size_for(of_size(), smallest - 1)
