"""How our layers do a work, and how torch's do it: as layers, as cells, and as loops by hand.

Everything here runs in a worker process.
"""

from collections.abc import Callable
from itertools import cycle

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn.functional import linear
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled
from unrolled.benchmark import peak
from unrolled.benchmark.grid import OURS, Work
from unrolled.benchmark.problem import Array, Contestant, Problem, pose
from unrolled.cells import Cell, cell

__all__ = ["make"]

_Values = dict[str, Tensor]
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
_BUILT_IN = {
    "lstm": unrolled.LSTM,
    "gru": unrolled.GRU,
    "rnn": unrolled.RNN,
    "janet": unrolled.JANET,
    "own_lstm": unrolled.LSTM,
    "own_janet": unrolled.JANET,
}
_TORCH = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
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
    if contestant == "peak":
        return peak.make(torch.get_num_threads())
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
    options = {"num_layers": work.num_layers, "bidirectional": work.bidirectional}
    if name == OURS and work.cell in _OWN:
        return unrolled.Recurrent(_OWN[work.cell], *sizes)
    if name == OURS and work.cell == "gru_before":
        return unrolled.GRU(*sizes, reset="before")
    if name in (OURS, "built-in"):
        return _BUILT_IN[work.cell](*sizes, **options)  # type: ignore[arg-type]
    if name == "torch.nn cell":
        return _TORCH_CELLS[work.cell](*sizes)
    if name == "torch loop" or (name == "torch.compile" and work.cell not in _TORCH):
        return Loop(work)
    return _TORCH[work.cell](*sizes, **options)  # type: ignore[arg-type]


def _sequence(name: str, module: nn.Module, work: Work, problem: Problem) -> Contestant:
    training = work.mode == "training"
    x = torch.from_numpy(problem.x).requires_grad_(training)
    d_output = torch.from_numpy(problem.d_output)
    lengths = torch.from_numpy(problem.lengths)
    valid = torch.from_numpy(problem.valid)
    call = module

    if name == "torch.compile":
        call = torch.compile(module)  # type: ignore[assignment]
    if name == "packed":
        d_output = pack_padded_sequence(d_output, lengths, enforce_sorted=False).data

    def output_of() -> Tensor:
        if name == "packed":
            packed = module(pack_padded_sequence(x, lengths, enforce_sorted=False))[0]
            output: Tensor = packed.data
        elif name == OURS and work.ragged:
            output = module(x, lengths=lengths)[0]
        elif isinstance(module, Loop):
            output = call(x)
        else:
            output = call(x)[0]
        return output

    def train() -> None:
        output_of().backward(d_output)  # type: ignore[no-untyped-call]

    def infer() -> None:
        with torch.no_grad():
            output_of()

    def forget() -> None:
        module.zero_grad()
        x.grad = None

    def answers() -> dict[str, Array]:
        forget()
        output = output_of()
        if training:
            output.backward(d_output)  # type: ignore[no-untyped-call]
        if name == "packed":
            packed = pack_padded_sequence(x, lengths, enforce_sorted=False)._replace(data=output)
            output, _ = pad_packed_sequence(packed)
        found = {"output": output * valid}
        if training:
            assert x.grad is not None
            found |= {"input": x.grad}
            found |= {key: w.grad for key, w in module.named_parameters() if w.grad is not None}
        return {key: value.detach().numpy() for key, value in found.items()}

    return Contestant(train if training else infer, answers, forget)


def _stream(name: str, module: nn.Module, work: Work, problem: Problem) -> Contestant:
    def start() -> _Step:
        if isinstance(module, (unrolled.LSTM, unrolled.GRU)):
            return module.stream(1).step
        state = None
        if isinstance(module, (nn.LSTMCell, nn.GRUCell)):

            def step(x: Tensor) -> Tensor:
                nonlocal state
                with torch.no_grad():
                    state = module(x, state)
                    return state[0] if work.cell == "lstm" else state  # type: ignore[return-value]
        else:

            def step(x: Tensor) -> Tensor:
                nonlocal state
                with torch.no_grad():
                    output, state = module(x, state)
                return output  # type: ignore[no-any-return]

        return step

    x = torch.from_numpy(problem.x)
    inputs = list(x.unsqueeze(1) if name == "torch.nn" else x)
    going, next_input = start(), cycle(inputs)

    def answers() -> dict[str, Array]:
        step = start()
        return {"output": torch.stack([step(x).reshape(1, -1) for x in inputs]).numpy()}

    return Contestant(lambda: going(next(next_input)), answers)
