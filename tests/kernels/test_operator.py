"""The recurrence as an operator: compiled and exported layers give what eager ones give."""

import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.library import opcheck
from torch.nn.utils.rnn import pack_padded_sequence

import unrolled
from support.cells import two_states
from unrolled.cells import lstm
from unrolled.cells.registry import find_cell
from unrolled.errors import OptionError, ShapeError, UnrolledError
from unrolled.kernels import using_path
from unrolled.kernels.running.paths import kernel_of
from unrolled.layers import map_state, state_tensors
from unrolled.networks import LayerOptions

OPERATORS = torch.ops.unrolled


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "lstm": lambda: unrolled.LSTM(3, 4),
    "gru": lambda: unrolled.GRU(3, 4),
    "gru, reset before": lambda: unrolled.GRU(3, 4, reset="before"),
    "janet": lambda: unrolled.JANET(3, 4),
    "rnn": lambda: unrolled.RNN(3, 4),
    "own cell": lambda: unrolled.Recurrent(two_states, 3, 4),
    "bidirectional": lambda: unrolled.LSTM(3, 4, bidirectional=True),
    "two layers": lambda: unrolled.LSTM(3, 4, 2, dropout=0.0),
    "batch first": lambda: unrolled.LSTM(3, 4, batch_first=True),
    "no bias": lambda: unrolled.GRU(3, 4, bias=False),
    "projected": lambda: unrolled.LSTM(3, 4, proj_size=2),
    "float64": lambda: unrolled.LSTM(3, 4, 2, bidirectional=True, dtype=torch.float64),
}
ragged = pytest.mark.parametrize("lengths", [None, [2, 5, 0, 3], [0, 0, 0, 0]])


@pytest.fixture(autouse=True)
def compile_anew():
    torch._dynamo.reset()


def a_batch(layer: nn.Module, num_steps: int = 5, batch_size: int = 4) -> Tensor:
    shape = (batch_size, num_steps) if layer.batch_first else (num_steps, batch_size)
    return torch.randn(*shape, 3, dtype=next(layer.parameters()).dtype, requires_grad=True)


def parts(result) -> list[Tensor]:
    return [result[0], *state_tensors(result[1])]


def gradients(result, leaves) -> tuple[Tensor, ...]:
    loss = sum((part * torch.arange(part.numel()).view_as(part)).sum() for part in parts(result))
    return torch.autograd.grad(loss, leaves)


def assert_equal(got, expected):
    """The same bits."""
    assert type(got[1]) is type(expected[1])
    torch.testing.assert_close(parts(got), parts(expected), rtol=0, atol=0)


def assert_same_gradients(got, expected, leaves):
    pairs = zip(gradients(got, leaves), gradients(expected, leaves), strict=True)
    for a, b in pairs:
        assert torch.linalg.vector_norm(a - b) <= 1e-6 * torch.linalg.vector_norm(b)


def arguments(layer, lengths=None, num_steps=5) -> tuple:
    """What the operator is given for the first layer of `layer`."""
    x = a_batch(layer, num_steps)
    states = [torch.randn(4, 4, requires_grad=True) for _ in layer.cell.states]
    how = (layer.cell.key, layer.bias, bool(layer.proj_size), False)
    lengths = None if lengths is None else torch.tensor(lengths)
    return (x, lengths, states, list(layer.parameters())), how


def detached(batch: tuple) -> tuple:
    x, lengths, states, weights = batch
    return x.detach(), lengths, [t.detach() for t in states], [t.detach() for t in weights]


@ragged
@pytest.mark.parametrize("name", ["lstm", "own cell", "projected"])
def test_torch_finds_the_operator_sound(name, lengths):
    layer = LAYERS[name]()
    batch, how = arguments(layer, lengths)
    if layer.proj_size:
        batch[2][0] = torch.randn(4, 2, requires_grad=True)
    opcheck(OPERATORS.recurrence.default, (*batch, *how))


@pytest.mark.parametrize("lengths", [None, [2, 5, 0, 3]])
def test_torch_finds_the_parts_of_the_operator_sound(lengths):
    batch, how = arguments(LAYERS["lstm"](), lengths)
    batch = detached(batch)
    width = kernel_of(lstm).gate_width(4)
    train, backward = OPERATORS.recurrence_train, OPERATORS.recurrence_backward
    opcheck(train.default, (*batch, *how, 0))
    same_values = "test_aot_dispatch_dynamic"  # not where there is room that is never written
    checks = [name for name in torch.testing._internal.optests.generate_tests.DEFAULT_TEST_UTILS]
    opcheck(
        train.default,
        (*batch, *how, width),
        test_utils=[name for name in checks if name != same_values],
    )
    output, _, c, *kept = train(*batch, *how, width)
    assert kept[0]
    for wanted in ([True] * 7, [True, False, False, False, True, False, True]):
        for what_is_kept in (kept, []):
            d_results = [output, None, c]
            opcheck(backward.default, (*batch, *how, d_results, output, what_is_kept, wanted))


@ragged
def test_gradients_are_the_same_whether_a_kernel_kept_its_gates_or_not(lengths):
    batch, how = arguments(LAYERS["lstm"](), lengths)
    batch = detached(batch)
    width = kernel_of(lstm).gate_width(4)
    output, h, c, *kept = OPERATORS.recurrence_train(*batch, *how, width)

    def backward(kept, wanted=(True,) * 7):
        d_results = [output, h, c]
        return OPERATORS.recurrence_backward(*batch, *how, d_results, output, kept, list(wanted))

    expected = backward([])
    for found in (backward(kept), backward(kept)):  # twice: the first has overwritten nothing
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    some = backward(kept, [True, False, True, False, True, False, True])
    torch.testing.assert_close(some, found[::2], rtol=0, atol=0)


def test_the_path_is_chosen_when_the_operator_runs():
    layer = LAYERS["lstm"]()
    compiled, x = torch.compile(layer, fullgraph=True, backend="aot_eager"), a_batch(layer)
    leaves = [x, *layer.parameters()]
    assert_same_gradients(compiled(x), layer(x), leaves)
    with using_path("reference"):
        result, expected = compiled(x), layer(x)
        assert_equal(result, expected)
    assert_same_gradients(result, expected, leaves)


@pytest.mark.parametrize(
    ("name", "lengths"),
    [
        *((name, [2, 5, 0, 3]) for name in LAYERS),
        *((name, None) for name in ("lstm", "own cell", "projected", "batch first", "float64")),
    ],
)
def test_a_compiled_layer_gives_the_bits_and_gradients_of_an_eager_one(name, lengths):
    layer = LAYERS[name]()
    x, lengths = a_batch(layer), None if lengths is None else torch.tensor(lengths)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    got, expected = compiled(x, lengths=lengths), layer(x, lengths=lengths)
    assert_equal(got, expected)
    assert_same_gradients(got, expected, [x, *layer.parameters()])
    state = map_state(Tensor.detach, expected[1])
    with torch.no_grad():
        assert_equal(compiled(x, state, lengths=lengths), layer(x, state, lengths=lengths))


@pytest.mark.parametrize("lengths", [[2, 5, 0, 3], torch.tensor([2, 5, 0, 3])])
def test_dynamo_alone_traces_lengths_of_any_kind(lengths):
    layer = LAYERS["bidirectional"]()
    x = a_batch(layer)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    assert_equal(compiled(x, lengths=lengths), layer(x, lengths=lengths))
    one = x.detach()[:, 0]
    assert_equal(compiled(one, lengths=[3]), layer(one, lengths=[3]))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch's own
@pytest.mark.skipif(not shutil.which("g++"), reason="Inductor needs a C++ compiler, g++")
def test_a_model_compiled_by_inductor_trains_as_an_eager_one():
    options = LayerOptions(hidden_size=4)
    model = unrolled.LanguageModel(options, vocabulary_size=7, embedding_size=3)
    compiled = torch.compile(model, fullgraph=True)
    tokens = torch.randint(7, (2, 6))
    leaves = list(model.parameters())

    def step(model, state=None):
        scores, state = model(tokens, state)
        return torch.autograd.grad(scores.logsumexp(-1).sum(), leaves), scores, state

    got, expected = step(compiled), step(model)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)


def test_rows_that_come_with_other_lengths_need_no_new_graph():
    layer = LAYERS["lstm"]()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True)
    torch._dynamo.utils.counters.clear()
    for num_steps, lengths in ((5, [2, 5, 0, 3]), (8, [8, 8, 8, 8]), (6, [1, 0, 0, 0])):
        x, lengths = a_batch(layer, num_steps), torch.tensor(lengths)
        got, expected = compiled(x, lengths=lengths), layer(x, lengths=lengths)
        assert_equal(got, expected)
        assert_same_gradients(got, expected, [x, *layer.parameters()])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("path", ["kernel", "reference"])
@pytest.mark.parametrize("batch_size", [0, 2])
@pytest.mark.parametrize("width", [0, 8, 32, 48])
@pytest.mark.parametrize("name", ["rnn", "lstm", "own cell"])
def test_states_of_another_width_are_an_error_on_every_path(name, width, batch_size, path):
    """Of twice the units a loop in torch would read one half, as if they were two heads."""
    cell = LAYERS[name]().cell
    weights = unrolled.Recurrent(cell, 3, 16).weights_of("l0").tensors()
    states = [torch.randn(batch_size, 16) for _ in cell.states]
    x = torch.randn(5, batch_size, 3)
    with torch.no_grad(), using_path(path):
        OPERATORS.recurrence(x, None, states, weights, cell.key, True, False, False)
        for index in range(len(states)):
            wrong = [*states]
            wrong[index] = torch.randn(batch_size, width)
            with pytest.raises(ShapeError):
                OPERATORS.recurrence(x, None, wrong, weights, cell.key, True, False, False)


def test_impossible_lengths_are_an_error_when_the_graph_runs():
    layer = LAYERS["lstm"]()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    x = a_batch(layer)
    compiled(x, lengths=torch.tensor([5, 5, 5, 5]))
    with pytest.raises(ShapeError, match=r"cell lstm: lengths must lie in 0..5, got 0..6"):
        compiled(x, lengths=torch.tensor([0, 1, 2, 6]))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [[5, 3, 3, 1], [1, 3, 5, 3]])
def test_packed_input_compiles_with_a_break_and_the_same_results(lengths, batch_first):
    layer = unrolled.LSTM(3, 4, bidirectional=True, batch_first=batch_first)
    x = a_batch(layer).detach()
    packed = pack_padded_sequence(x, torch.tensor(lengths), batch_first, enforce_sorted=False)
    got, expected = torch.compile(layer, backend="aot_eager")(packed), layer(packed)
    assert_equal((got[0].data, got[1]), (expected[0].data, expected[1]))
    for a, b in zip(got[0][1:], expected[0][1:], strict=True):
        torch.testing.assert_close(a, b)
    leaves = list(layer.parameters())
    assert_same_gradients((got[0].data, got[1]), (expected[0].data, expected[1]), leaves)


def test_a_cell_whose_kernel_is_first_wanted_by_a_compiler_has_one():
    @unrolled.cell(gates="f g")
    def never_run(x, u, h):
        f = torch.sigmoid(x.f + u.f)
        return dict(h=f * h + (1 - f) * torch.tanh(x.g + u.g))

    layer = unrolled.Recurrent(never_run, 3, 4)
    x = a_batch(layer)
    got = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)
    assert kernel_of(never_run) is not None
    assert_same_gradients(got, layer(x), [x, *layer.parameters()])


def test_a_compiled_layer_under_autocast_computes_in_the_type_of_its_weights():
    layer = LAYERS["gru"]()
    x = a_batch(layer).detach().bfloat16()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = compiled(x)
    expected = layer(x.float())
    assert_equal(got, expected)
    assert_same_gradients(got, expected, list(layer.parameters()))


@pytest.mark.parametrize("name", ["lstm", "gru, reset before", "projected"])
def test_second_derivatives_of_the_operator_are_right(name):
    layer = LAYERS[name]().double()
    how = (layer.cell.key, layer.bias, bool(layer.proj_size), False)
    num_states = len(layer.cell.states)
    states = [torch.randn(2, 4, dtype=torch.float64) for _ in range(num_states)]
    states[0] = states[0][:, : layer.proj_size or 4]
    tensors = [torch.randn(3, 2, 3, dtype=torch.float64), *states, *layer.parameters()]
    tensors = [tensor.detach().requires_grad_() for tensor in tensors]

    def run(x, *others):
        states, weights = list(others[:num_states]), list(others[num_states:])
        return tuple(OPERATORS.recurrence(x, torch.tensor([3, 1]), states, weights, *how))

    assert torch.autograd.gradcheck(run, tensors)
    assert torch.autograd.gradgradcheck(run, tensors, fast_mode=True)


def test_second_derivatives_of_float32_equal_those_of_an_eager_layer():
    layer = LAYERS["lstm"]()
    batch, how = arguments(layer, [2, 5, 0, 3])
    x, lengths, states, weights = batch
    leaves = [x, *states, *weights]

    def second(result):
        first = torch.autograd.grad(
            sum(part.square().sum() for part in result), leaves, create_graph=True
        )
        return torch.autograd.grad(sum(d.square().sum() for d in first), leaves)

    hx = tuple(state.unsqueeze(0) for state in states)
    output, state = layer(x, hx, lengths=lengths)
    expected = second([output, *(part.squeeze(0) for part in state)])
    found = second(OPERATORS.recurrence(*batch, *how))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_second_derivatives_through_a_compiled_layer_are_refused():
    layer = LAYERS["lstm"]()
    x = a_batch(layer)
    output, _ = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)
    (first,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="double backward"):
        torch.autograd.grad(first.sum(), x)


def test_the_parts_of_the_operator_say_that_they_have_no_gradient():
    batch, how = arguments(LAYERS["lstm"]())
    with pytest.raises(UnrolledError, match="recurrence_train has no gradient"):
        OPERATORS.recurrence_train(*batch, *how, 0)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", ["lstm", "bidirectional", "own cell"])
def test_an_exported_layer_takes_any_lengths_steps_and_rows(name, strict):
    layer = LAYERS[name]()

    class Ragged(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x, lengths):
            return self.layer(x, lengths=lengths)

    any_number = torch.export.Dim.DYNAMIC
    free = ({0: any_number, 1: any_number}, {0: any_number})
    batch = (a_batch(layer).detach(), torch.tensor([2, 5, 0, 3]))
    program = torch.export.export(Ragged(), batch, dynamic_shapes=free, strict=strict)
    names = [str(node.target) for node in program.graph.nodes if "unrolled" in str(node.target)]
    assert set(names) == {"unrolled.recurrence.default"}  # not what only training needs
    other, lengths = a_batch(layer, 9, 3).detach(), torch.tensor([9, 1, 4])
    assert_equal(program.module()(other, lengths), layer(other, lengths=lengths))
    with pytest.raises(ShapeError, match=r"0\.\.9, got 1\.\.10"):
        program.module()(other, torch.tensor([10, 1, 4]))


OWN_MODULE = """
import torch, unrolled

@unrolled.cell(gates="f g")
def leaky(x, u, h):
    f = torch.sigmoid(x.f + u.f)
    return dict(h=f * h + (1 - f) * torch.tanh(x.g + u.g))
"""
LOAD = """
import sys, torch, unrolled
x, expected = torch.load(sys.argv[1] + ".results")
output, _ = torch.export.load(sys.argv[1]).module()(x)
assert torch.equal(output, expected)
"""


@pytest.mark.parametrize("own", [False, True])
def test_an_exported_program_runs_in_a_process_that_only_imports_unrolled(
    own, tmp_path, monkeypatch
):
    (tmp_path / "own_cells_of_a_user.py").write_text(OWN_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    if own:
        from own_cells_of_a_user import leaky

        layer = unrolled.Recurrent(leaky, 3, 4)
    else:
        layer = unrolled.LSTM(3, 4, 2)
    x = a_batch(layer).detach()
    file = str(tmp_path / "layer.pt2")
    torch.export.save(torch.export.export(layer, (x,)), file)
    torch.save((x, layer(x)[0].detach()), file + ".results")
    subprocess.run([sys.executable, "-c", LOAD, file], cwd=tmp_path, check=True)


def test_cells_are_found_by_their_keys_for_as_long_as_they_live():
    def declare(factor):
        @unrolled.cell(gates="a")
        def twin(x, u):
            return dict(h=x.a + factor * u.a)

        return twin

    first, second = declare(factor=1.0), declare(factor=1.0)
    assert find_cell(lstm.key) is lstm
    assert lstm.key == "unrolled.cells.lstm:lstm"
    assert second.key == f"{first.key}#2"
    assert find_cell(first.key) is first
    assert find_cell(second.key) is second
    key = first.key
    del first
    assert find_cell(key) is second  # which computes the same
    del second
    with pytest.raises(OptionError, match="not known in this process"):
        find_cell(key)
    other = declare(factor=2.0)
    assert other.key != key
    with pytest.raises(OptionError, match="not the one that the program was made with"):
        find_cell(key)
    with pytest.raises(OptionError, match="cannot be imported"):
        find_cell("no_such_module:cell")


def test_importing_unrolled_after_torch_defines_the_operator_and_no_compiler():
    code = """
import sys, torch
loaded = set(sys.modules)
import unrolled
torch.ops.unrolled.recurrence
new = sys.modules.keys() - loaded
assert not any(name.startswith(("torch._dynamo", "torch._inductor")) for name in new), new
"""
    subprocess.run([sys.executable, "-c", code], check=True)
