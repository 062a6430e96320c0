"""How our layers do a work, and how torch's do it: as layers, as cells, and as loops by hand.

Everything here runs in a worker process.
"""

from collections.abc import Callable
from functools import partial
from itertools import cycle

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn.functional import linear
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import unrolled
from unrolled.benchmark import peak
from unrolled.benchmark.grid import OURS, TAPS, Work
from unrolled.benchmark.problem import Array, Contestant, Problem, pose
from unrolled.cells import Cell, cell
from unrolled.kernels import using_path

__all__ = ["make"]

_Layer = Callable[[Tensor], Tensor]  # input to output
_Step = Callable[[Tensor], Tensor]  # one step's input to its output, the state carried


@cell(gates="f g")
def own_janet(x, u, h):  # type: ignore[no-untyped-def]  # as a user writes it
    """What `unrolled.cells.janet` says, by a user."""
    f = sigmoid(x.f + u.f)
    i = 1 - sigmoid(x.f + u.f - 1)
    return dict(h=f * h + i * tanh(x.g + u.g), f=f, i=i)


@cell(gates="i f g o", states="h c")
def own_lstm(x, u, c):  # type: ignore[no-untyped-def]  # as a user writes it
    """What `unrolled.cells.lstm` says, by a user."""
    i, f, o = sigmoid(x.i + u.i), sigmoid(x.f + u.f), sigmoid(x.o + u.o)
    c = f * c + i * tanh(x.g + u.g)
    return dict(h=o * tanh(c), c=c, i=i, f=f, o=o)


_OWN: dict[str, Cell] = {"own_janet": own_janet, "own_lstm": own_lstm}
_BUILT_IN: dict[str, Callable[..., nn.Module]] = {
    "lstm": unrolled.LSTM,
    "gru": unrolled.GRU,
    "rnn": unrolled.RNN,
    "janet": unrolled.JANET,
    "own_lstm": unrolled.LSTM,
    "own_janet": unrolled.JANET,
}
_TORCH: dict[str, Callable[..., nn.Module]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
_TORCH_CELLS = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}


class Loop(nn.Module):
    """A cell that torch lacks, as a loop by hand: the input's product is one, before the loop.

    Args:
        work: Its cell is janet, own_janet or gru_before.
    """

    def __init__(self, work: Work) -> None:
        super().__init__()
        rows, size = work.num_gates * work.hidden_size, work.hidden_size
        self.weight_ih_l0 = nn.Parameter(torch.empty(rows, work.input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(rows, size))
        self.bias_ih_l0 = nn.Parameter(torch.empty(rows))
        self.bias_hh_l0 = nn.Parameter(torch.empty(rows))
        self._step = self._gru_before if work.cell == "gru_before" else self._janet

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, (T, B, H), for `x`, (T, B, I)."""
        h = x.new_zeros(x.shape[1], self.weight_hh_l0.shape[1])
        outputs = []
        for gates in linear(x, self.weight_ih_l0, self.bias_ih_l0).unbind():
            h = self._step(gates, h)
            outputs.append(h)
        return torch.stack(outputs)

    def _janet(self, gates: Tensor, h: Tensor) -> Tensor:
        a, g = (gates + linear(h, self.weight_hh_l0, self.bias_hh_l0)).chunk(2, -1)
        return sigmoid(a) * h + (1 - sigmoid(a - 1)) * tanh(g)

    def _gru_before(self, gates: Tensor, h: Tensor) -> Tensor:
        both = 2 * h.shape[1]
        weight, bias = self.weight_hh_l0, self.bias_hh_l0
        r, z = sigmoid(gates[:, :both] + linear(h, weight[:both], bias[:both])).chunk(2, -1)
        n = tanh(gates[:, both:] + linear(r * h, weight[both:], bias[both:]))
        return (1 - z) * n + z * h


def make(contestant: str, work: Work) -> Contestant:
    """Return the contestant of that name. The first call compiles what there is to compile."""
    if contestant in ("peak", "peak of one core"):
        return peak.make(torch.get_num_threads() if contestant == "peak" else 1)
    name = contestant.removesuffix(", tuned")
    problem = pose(work)
    weights = {key: torch.from_numpy(weight) for key, weight in problem.weights.items()}
    if name == "torch.nn cell":
        weights = {key.removesuffix("_l0"): weight for key, weight in weights.items()}
    module = _module(name, work)
    module.load_state_dict(weights)
    if work.mode == "step":
        return _stream(name, module, work, problem)
    return _sequence(name, module, work, problem)


def _module(name: str, work: Work) -> nn.Module:
    sizes = (work.input_size, work.hidden_size)
    if work.cell == "tcn":
        return unrolled.TCN(*sizes, work.num_layers, TAPS)
    options = {"num_layers": work.num_layers, "bidirectional": work.bidirectional}
    if name == OURS and work.cell in _OWN:
        return unrolled.Recurrent(_OWN[work.cell], *sizes)
    if name == OURS and work.cell == "gru_before":
        return unrolled.GRU(*sizes, reset="before")
    if name in (OURS, "built-in", "f32 weights", "float32"):
        return _BUILT_IN[work.cell](*sizes, **options)
    if name == "torch.nn cell":
        return _TORCH_CELLS[work.cell](*sizes)
    if name == "torch loop" or (name == "torch.compile" and work.cell not in _TORCH):
        return Loop(work)
    return _TORCH[work.cell](*sizes, **options)


def _sequence(name: str, module: nn.Module, work: Work, problem: Problem) -> Contestant:
    training = work.mode == "training"
    x = torch.from_numpy(problem.x).requires_grad_(training)
    lengths = torch.from_numpy(problem.lengths)
    d_output = torch.from_numpy(problem.d_output)
    if name == "packed":
        d_output = _pack(d_output, lengths).data
    read = _reader(name, module, work, lengths)
    if work.mixed and name != "float32":
        read = torch.autocast("cpu", torch.bfloat16)(read)
        d_output = d_output.to(read(x).dtype)

    def train() -> Tensor:
        output = read(x)
        output.backward(d_output)  # type: ignore[no-untyped-call]  # torch has no types for it
        return output

    def infer() -> Tensor:
        with torch.no_grad():
            return read(x)

    def forget() -> None:
        module.zero_grad()
        x.grad = None

    repeat = train if training else infer

    def answers() -> dict[str, Array]:
        forget()
        output = repeat()
        if name == "packed":
            output, _ = pad_packed_sequence(_pack(x, lengths)._replace(data=output))
        tensors = {"output": output * torch.from_numpy(problem.valid), "input": x.grad}
        tensors |= {key: weight.grad for key, weight in module.named_parameters()}
        return {
            k: value.detach().float().numpy() for k, value in tensors.items() if value is not None
        }

    return Contestant(repeat, answers, forget)


def _pack(x: Tensor, lengths: Tensor) -> PackedSequence:
    return pack_padded_sequence(x, lengths, enforce_sorted=False)


def _reader(name: str, module: nn.Module, work: Work, lengths: Tensor) -> _Layer:
    """Return input -> output, of packed rows the packed output."""
    if isinstance(module, Loop):
        compiled: _Layer = torch.compile(module) if name == "torch.compile" else module
        return compiled
    if name == "torch.compile":
        layer = torch.compile(module)
        return lambda x: layer(x)[0]
    if name == "packed":
        return lambda x: module(_pack(x, lengths))[0].data
    if name == "torch conv1d":
        return partial(_by_torch, module)
    if name == OURS and work.ragged:
        return lambda x: module(x, lengths=lengths)[0]
    return lambda x: module(x)[0]


def _by_torch(module: nn.Module, x: Tensor) -> Tensor:
    """Run a TCN by torch's convolutions."""
    with using_path("reference"):
        output: Tensor = module(x)[0]
    return output


def _step_by_torch(stream: unrolled.Stream, x: Tensor) -> Tensor:
    with using_path("reference"):
        return stream.step(x)


def _stream(name: str, module: nn.Module, work: Work, problem: Problem) -> Contestant:
    def start() -> _Step:
        if name == "torch conv1d":
            stream = module.stream(1)  # type: ignore[operator]  # of a TCN
            return partial(_step_by_torch, stream)
        if isinstance(module, unrolled.TCN):
            return module.stream(1).step
        if isinstance(module, (unrolled.LSTM, unrolled.GRU)):
            return module.stream(1, weights=work.weights if name == OURS else "f32").step
        state = None
        if isinstance(module, (nn.LSTMCell, nn.GRUCell)):

            def step(x: Tensor) -> Tensor:
                nonlocal state
                with torch.no_grad():
                    state = module(x, state)
                    return state[0] if work.cell == "lstm" else state  # type: ignore[no-any-return]  # of a module
        else:

            def step(x: Tensor) -> Tensor:
                nonlocal state
                with torch.no_grad():
                    output, state = module(x, state)
                return output  # type: ignore[no-any-return]  # of a module

        return step

    x = torch.from_numpy(problem.x)
    inputs = list(x.unsqueeze(1) if name == "torch.nn" else x)
    going, next_input = start(), cycle(inputs)

    def answers() -> dict[str, Array]:
        step = start()
        return {"output": torch.stack([step(x).reshape(1, -1) for x in inputs]).numpy()}

    return Contestant(lambda: going(next(next_input)), answers)
