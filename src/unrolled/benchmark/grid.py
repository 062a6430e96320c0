"""What is measured: the works, who takes part in each, and in which process.

Not here: how a contestant does its work (`torch_peers.py` and its neighbours).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

__all__ = [
    "OURS",
    "PROCESSES",
    "TAPS",
    "Work",
    "all_works",
    "base_of",
    "missing",
    "peers_of",
    "process_of",
]

Mode = Literal["forward", "training", "step"]
Weights = Literal["f32", "bf16", "int8"]

OURS = "unrolled"
TAPS = 7  # of a convolution of the TCN: the official code's, for the adding problem

# The processes that contestants run in, and the packages that each needs beside torch.
PROCESSES = {
    "torch": (),  # ours and torch's, as installed
    "tuned": (),  # both again, with an allocator that keeps large buffers
    "compiled": (),  # torch.compile
    "onnxruntime": ("onnx", "onnxruntime"),
    "jax": ("jax",),
}

# cell: the name of its section in the table, and its gates.
_CELLS = {
    "lstm": ("LSTM", 4),
    "gru": ("GRU", 3),
    "rnn": ("RNN", 1),
    "janet": ("JANET", 2),
    "gru_before": ("GRU reset before", 3),
    "own_janet": ("A JANET of the user's own", 2),
    "own_lstm": ("An LSTM of the user's own", 4),
    "tcn": ("TCN", 0),
}
_SHAPES = ((64, 128, 128), (64, 128, 256), (64, 128, 512), (8, 128, 128), (1, 128, 64))  # B, T, H
# Of calls in which what surrounds a kernel counts: a step of a decoder, of a policy, of a loop.
_SHORT_SHAPES = (
    *((1, 1, 64), (1, 1, 256), (1, 1, 512), (1, 8, 64), (1, 32, 256)),
    *((8, 1, 64), (8, 1, 256), (8, 16, 256), (8, 32, 64)),
    *((64, 1, 64), (64, 1, 256), (64, 8, 64)),
)


@dataclass(frozen=True)
class Work:
    """One line of the benchmark.

    Args:
        cell: lstm, gru, rnn, janet, gru_before (the reset gate before the product), own_janet or
            own_lstm (cells written in the benchmark, as a user writes them); or tcn, whose layers
            are residual blocks with TAPS taps.
        mode: forward (without gradients), training (forward and backward, the input requires a
            gradient too) or step (one step of a stream, the state carried).
        rows: B.
        steps: T.
        input_size: I.
        hidden_size: H.
        num_layers: One above the other.
        bidirectional: Whether each layer reads backwards too.
        ragged: Whether the rows' lengths are uniform in T/4..T rather than T.
        short: Whether it is a call of a few steps, among others of its kind.
        weights: How ours stores weights, of a step. In training, bf16 is under autocast.
    """

    cell: str
    mode: Mode
    rows: int
    steps: int
    input_size: int
    hidden_size: int
    num_layers: int = 1
    bidirectional: bool = False
    ragged: bool = False
    short: bool = False
    weights: Weights = "f32"

    @property
    def mixed(self) -> bool:
        """Whether it is a training under autocast."""
        return self.mode == "training" and self.weights == "bf16"

    @property
    def section(self) -> str:
        """The table that the line belongs to."""
        if self.mode == "step":
            return "One step of a stream"
        if self.short:
            return "Short calls"
        if self.ragged:
            return "Ragged lengths"
        name, _ = _CELLS[self.cell]
        if self.mixed:
            return f"{name}, mixed precision"
        return f"{name}, {self.num_layers} layers" if self.num_layers > 1 else name

    @property
    def shape(self) -> str:
        """The sizes, as in B64 T128 H256; I where it is not H, and weights that are not f32."""
        steps = f" T{self.steps // 4}..{self.steps}" if self.ragged else f" T{self.steps}"
        inputs = f" I{self.input_size}" if self.input_size != self.hidden_size else ""
        weights = f" {self.weights}" if self.weights != "f32" else ""
        steps = "" if self.mode == "step" else steps
        return f"B{self.rows}{steps}{inputs} H{self.hidden_size}{weights}"

    @property
    def label(self) -> str:
        """The line's name within its section."""
        together = self.ragged or self.short or self.mode == "step"
        name = f"{_CELLS[self.cell][0]} " if together else ""
        both = "bidirectional " if self.bidirectional else ""
        return f"{name}{both}{self.shape} {self.mode}"

    @property
    def title(self) -> str:
        """The line's name: the section's, where the label lacks it, and the label."""
        return f"{self.section}: {self.label}"

    @property
    def num_gates(self) -> int:
        """G."""
        return _CELLS[self.cell][1]

    @property
    def forward_flop(self) -> int:
        """The useful floating point operations of a forward pass, matrix products alone."""
        if self.cell == "tcn":
            return 2 * self.rows * self.hidden_size * self._products_of_taps()
        assert self.num_layers == 1
        width = self.input_size + self.hidden_size
        return 2 * self.rows * self.steps * self.num_gates * self.hidden_size * width

    def _products_of_taps(self) -> int:
        """Return how many numbers the taps of a unit see in all steps of a row, in all blocks."""
        count = 0
        for level in range(self.num_layers):
            width = self.hidden_size if level else self.input_size
            seen = sum(max(0, self.steps - (tap << level)) for tap in range(TAPS))
            shortcut = self.steps * width if width != self.hidden_size else 0
            count += seen * (width + self.hidden_size) + shortcut
        return count


def all_works(*, quick: bool = False) -> Iterator[Work]:
    """Yield all works; with `quick` small ones of every kind, to see that all is well."""
    shapes = ((4, 8, 16),) if quick else _SHAPES
    middle = shapes[min(1, len(shapes) - 1)]
    for cell in ("lstm", "gru", "rnn", "janet"):
        for rows, steps, size in shapes:
            yield Work(cell, "forward", rows, steps, size, size)
            yield Work(cell, "training", rows, steps, size, size)
    yield Work("gru_before", "forward", *middle, middle[-1])
    yield Work("gru_before", "training", *middle, middle[-1])
    for cell in ("lstm", "gru"):
        rows, steps, size = (4, 8, 16) if quick else (32, 100, 128)
        yield Work(cell, "training", rows, steps, size, size, ragged=True)
        yield Work(cell, "training", *middle, middle[-1], weights="bf16")
    rows, steps, input_size, size = (4, 8, 10, 16) if quick else (32, 400, 100, 128)
    yield Work("lstm", "training", rows, steps, input_size, size, num_layers=2, bidirectional=True)
    for rows, steps, size in shapes:
        yield Work("own_janet", "training", rows, steps, size, size)
    yield Work("own_lstm", "training", *middle, middle[-1])
    for cell in ("lstm", "gru", "rnn"):
        for rows, steps, size in ((1, 1, 16),) if quick else _SHORT_SHAPES:
            yield Work(cell, "forward", rows, steps, size, size, short=True)
            yield Work(cell, "training", rows, steps, size, size, short=True)
    for cell in ("lstm", "gru"):
        for size in (16,) if quick else (64, 128, 256, 512):
            yield Work(cell, "step", 1, 1, size, size)
        for size in (16,) if quick else (256, 512):
            yield Work(cell, "step", 1, 1, size, size, weights="bf16")
            yield Work(cell, "step", 1, 1, size, size, weights="int8")
    for rows, steps, size, blocks in (
        ((4, 8, 16, 2),) if quick else ((64, 400, 25, 8), (1, 400, 25, 8), (32, 128, 128, 4))
    ):
        for mode in ("forward", "training"):
            yield Work("tcn", mode, rows, steps, 2, size, num_layers=blocks)
    size, blocks = (16, 2) if quick else (25, 8)
    yield Work("tcn", "step", 1, 1, 2, size, num_layers=blocks)


def peers_of(work: Work) -> list[str]:
    """Return the peers of a work by name, ours not among them."""
    if work.mixed:
        return ["float32", "torch.nn"]
    if work.weights != "f32":
        return ["f32 weights", "torch.nn"]
    if work.cell == "tcn":
        return ["torch conv1d"] if work.mode == "step" else ["torch conv1d", "torch conv1d, tuned"]
    if work.mode == "step":
        return ["torch.nn", "torch.nn cell", "ONNX Runtime"]
    if work.short:
        return ["torch.nn"]
    if work.ragged:
        return ["packed", "padded", "packed, tuned", "padded, tuned"]
    if work.num_layers > 1:
        return ["torch.nn", "torch.nn, tuned"]
    own = work.cell.startswith("own_")
    torch_has_it = work.cell in ("lstm", "gru", "rnn")
    peers = ["built-in"] if own else []
    if work.cell != "own_lstm":
        name = "torch.nn" if torch_has_it else "torch loop"
        peers += [name] if own else [name, f"{name}, tuned"]
    if work.mode == "forward" and (torch_has_it or work.cell == "gru_before"):
        peers.append("ONNX Runtime")
    if not own:
        peers.append("JAX")
    # Compiling unrolls the loop, which takes minutes: once for a loop, once for a layer of torch.
    if (work.cell, work.mode) in (("own_janet", "training"), ("gru", "training")):
        if work.shape in ("B64 T128 H256", "B4 T8 H16"):
            peers.append("torch.compile")
    return peers


def process_of(contestant: str) -> str:
    """Return the key of `PROCESSES` of the process that a contestant runs in."""
    if contestant.endswith(", tuned"):
        return "tuned"
    others = {"torch.compile": "compiled", "ONNX Runtime": "onnxruntime", "JAX": "jax"}
    return others.get(contestant, "torch")


def base_of(peer: str) -> str:
    """Return which of ours a peer is compared with: ours in its own process, where there is one."""
    return f"{OURS}, tuned" if process_of(peer) == "tuned" else OURS


def missing(process: str) -> list[str]:
    """Return the packages that are not installed, of those that a process needs."""
    return [package for package in PROCESSES[process] if find_spec(package) is None]
