"""The one door: every path gives the same, and an observer sees it without changing it."""

import shutil

import pytest
import torch

import unrolled
from unrolled.kernels import (
    GraphObserver,
    RaggedRows,
    ValueObserver,
    recurrence,
    using_path,
)

PATHS = ["reference", "torch"]
PATHS += ["kernel"] if any(map(shutil.which, ("cc", "gcc", "clang"))) else []
LENGTHS = torch.tensor([3, 5, 0, 2])


class Values(ValueObserver):
    def __init__(self):
        self.calls = []

    def see(self, x, inputs, states, values):
        assert inputs == {}  # of a cell that declares none
        self.calls.append((x, states, values))


class Graph(GraphObserver):
    def __init__(self):
        self.steps = {}

    def input(self, x):
        self.x = x.detach().requires_grad_()
        return self.x

    def see(self, step, values):
        self.steps[step] = values


def a_problem(rows, batch_size):
    layer = unrolled.LSTM(3, 4)
    x = torch.randn(sum(rows.batch_sizes), 3)
    states = torch.randn(batch_size, 4), torch.randn(batch_size, 4)
    return layer.cell, x, rows, layer.weights_of("l0"), states


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_an_observer_of_values_sees_the_same_on_every_path_and_changes_nothing(path, reverse):
    rows = RaggedRows.even(5, 4) if path == "torch" else RaggedRows.of(LENGTHS, 5)
    problem = a_problem(rows, 4)
    with using_path(path):
        expected, ends = recurrence(*problem, reverse=reverse)
        observer = Values()
        output, after = recurrence(*problem, reverse=reverse, observer=observer)
    assert not output.requires_grad
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(after, ends)
    ((x, states, values),) = observer.calls
    assert x is problem[1]
    assert states is problem[4]
    assert set(values) == {"h", "c", "i", "f", "g", "o"}
    torch.testing.assert_close(values["h"], expected.detach())
    with using_path("reference"):
        reference = Values()
        recurrence(*problem, reverse=reverse, observer=reference)
    for name, value in reference.calls[0][2].items():
        torch.testing.assert_close(values[name], value)


@pytest.mark.parametrize("path", PATHS)
def test_an_observer_of_values_learns_the_names_where_there_is_nothing_to_read(path):
    rows = RaggedRows.of(torch.zeros(4, dtype=torch.int64), 5)
    observer = Values()
    with using_path(path):
        recurrence(*a_problem(rows, 4), observer=observer)
    ((_, _, values),) = observer.calls
    assert {name: value.shape for name, value in values.items()} == dict.fromkeys(
        ["h", "c", "i", "f", "g", "o"], torch.Size([0, 4])
    )


def test_an_observer_of_the_graph_sees_tensors_that_gradients_flow_through():
    rows = RaggedRows.even(5, 4)
    problem, observer = a_problem(rows, 4), Graph()
    output, _ = recurrence(*problem, observer=observer)
    expected, _ = recurrence(*problem)
    torch.testing.assert_close(output, expected)
    assert list(observer.steps) == [0, 1, 2, 3, 4]
    sources = [observer.x, *(step["c"] for step in observer.steps.values())]
    gradients = torch.autograd.grad(output[-4:].sum(), sources)
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
