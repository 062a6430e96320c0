"""What was written as C, compiled here and held against what torch and our kernels compute.

A difference is the greatest absolute one of any number that comes out, divided by the greatest
absolute number of its batch where that is above 1. Forecasts are compared on the model's scale.
"""

import copy
import ctypes
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from unrolled.errors import RunError
from unrolled.export.c.program import Program
from unrolled.export.c.source import as_stored
from unrolled.export.c.writing import compare_words, written_words
from unrolled.export.proof import REPORT_IT
from unrolled.kernels import KernelError, WeightFormat, find_compiler
from unrolled.layers import RecurrentLayer
from unrolled.tasks.decoder_graphs import DecoderGraphs
from unrolled.tasks.graphs import Chain, Graphs

__all__ = ["MOST_DIFFERENCE", "Proof", "Runs", "prove_chain", "prove_run"]

MOST_DIFFERENCE = 1e-5
_C99 = ("-std=c99", "-ffp-contract=off", "-O3")
_LENGTHS = (1, 2, 40)  # steps of the sequences that a layer is proved on


@dataclass(frozen=True)
class Proof:
    """How far what C computes is from the model.

    Args:
        difference: The greatest difference to the model whose weights are as they are stored;
            0.0 where every bit is equal.
        of_rounding: The greatest to the model itself; the same where weights are float32.
        num_rows: How many sequences were run.
        num_written: Of how many the words that it writes are Python's, found with a beam of 1; 0 of
            a model that does not write words.
    """

    difference: float
    of_rounding: float
    num_rows: int
    num_written: int = 0


class Runs(Protocol):
    """A model that is compared with another."""

    def run(self, x: Tensor) -> Tensor:
        """Return what is said of one sequence, (T, O); or (O,) of the whole."""


def prove_chain(
    program: Program,
    chain: Chain,
    weights: WeightFormat,
    running: AbstractContextManager[Runs] | None,
) -> Proof:
    """Compare a program of modules with them on random numbers or tokens.

    Args:
        program: What is proved.
        chain: The modules.
        weights: How matrices are stored.
        running: What runs it; None compiles its C.

    Raises:
        KernelError: There is no compiler, or it fails.
        RunError: What it computes differs by more than `MOST_DIFFERENCE`.
    """
    generator = torch.Generator().manual_seed(0)
    modules = nn.ModuleList(chain.modules)
    stored = _as_stored(modules, weights)
    proof = _Comparison(program)
    with running or _compiled(program) as library:
        for length in _LENGTHS:
            if chain.num_tokens is None:
                x = torch.randn(length, program.input_size, generator=generator)
            else:
                x = torch.randint(chain.num_tokens, (length,), generator=generator)
            said = library.run(x)
            proof.compare(said, _in_torch(stored, x), _in_torch(modules, x))
    return proof.result()


def prove_run(
    program: Program,
    graphs: Graphs[Any],
    examples: Any,
    weights: WeightFormat,
    running: AbstractContextManager[Runs] | None = None,
) -> Proof:
    """Compare a program of a run's model with it on examples, as `prove_chain` does.

    Raises:
        KernelError: There is no compiler, or it fails.
        RunError: No example has a step, or what it computes differs by more than `MOST_DIFFERENCE`.
    """
    rounded = type(graphs)(graphs.task, _as_stored(graphs.model, weights))
    whole, rounded_whole = graphs.scored(), rounded.scored()
    proof = _Comparison(program)
    with running or _compiled(program) as library, torch.inference_mode():
        for inputs in graphs.batches(examples):
            scores = whole.run(*(inputs[name] for name in whole.inputs))[0]
            near = rounded_whole.run(*(inputs[name] for name in whole.inputs))[0]
            if program.row is not None:
                for row in range(len(scores)):
                    said = program.row(library, inputs, row)
                    three = [said, near[row][: len(said)], scores[row][: len(said)]]
                    if program.scaled is not None:
                        three = [program.scaled(each, inputs, row) for each in three]
                    proof.compare(*three)
                if program.written is not None:
                    assert isinstance(rounded, DecoderGraphs)
                    words = compare_words(program, rounded, library, inputs, MOST_DIFFERENCE)
                    proof.num_written += words
                continue
            steps = graphs.in_steps(inputs, scores)[1]
            expected = rounded.in_steps(inputs, near)[1]
            for row in range(len(scores)):
                proof.row(library, row, steps, expected)
    if not proof.num_rows:
        raise RunError(f"{program.name}: nothing that was held out has a step to compare")
    return proof.result()


class _Comparison:
    def __init__(self, program: Program) -> None:
        self._program = program
        self._difference = self._of_rounding = 0.0
        self.num_rows = self.num_written = 0

    def row(self, library: Runs, row: int, steps: Any, expected: Any) -> None:
        """Compare one row of a batch, given in steps; NaN where nothing is expected."""
        wanted = torch.stack([each[row] for _, each in steps])
        near = torch.stack([each[row] for _, each in expected])
        counts = ~wanted.isnan().any(1)
        if not bool(counts.any()):
            return
        length = int(counts.nonzero().max()) + 1
        (name,) = steps[0][0]
        x = torch.stack([read[name][row] for read, _ in steps[:length]])
        said = library.run(x)
        if not self._program.is_pooled:
            said = said[counts[:length]]
        self.compare(said, near[counts], wanted[counts])

    def compare(self, said: Tensor, near: Tensor, exact: Tensor) -> None:
        """Note how far numbers are from those of rounded weights, and from those of the model."""
        self.num_rows += 1
        self._difference = max(self._difference, _distance(said, near))
        self._of_rounding = max(self._of_rounding, _distance(said, exact))

    def result(self) -> Proof:
        """Return what was found.

        Raises:
            RunError: Too great a difference.
        """
        if not self._difference <= MOST_DIFFERENCE:
            raise RunError(
                f"{self._program.name}.c: not written: its scores differ by "
                f"{self._difference:.1e}, and at most {MOST_DIFFERENCE:.0e} is allowed",
                REPORT_IT,
            )
        return Proof(self._difference, self._of_rounding, self.num_rows, self.num_written)


def _distance(got: Tensor, expected: Tensor) -> float:
    if got.numel() == 0:
        return 0.0
    size = float(expected.abs().max().clamp(min=1.0))
    difference = float((got - expected.reshape(got.shape)).abs().max()) / size
    return difference if difference == difference else float("inf")


# ---- The model in torch --------------------------------------------------------------------------


def _as_stored(model: nn.Module, weights: WeightFormat) -> nn.Module:
    """Return a copy of a model whose matrices are as C has them."""
    if weights == "f32":
        return model
    model = copy.deepcopy(model)
    for module in [*model.modules()]:
        if isinstance(module, RecurrentLayer):
            for name in (*module._parameters, *getattr(module, "parametrizations", ())):
                weight = getattr(module, name)
                if weight is not None and weight.dim() == 2:
                    _set(module, name, as_stored(weight, weights))
        elif isinstance(module, nn.Conv1d):
            rows = module.weight.transpose(1, 2).reshape(module.out_channels, -1)
            shape = (module.out_channels, *module.kernel_size, module.in_channels)
            _set(module, "weight", as_stored(rows, weights).reshape(shape).transpose(1, 2))
        elif isinstance(module, nn.Conv2d):
            weight = as_stored(module.weight.flatten(1), weights)
            _set(module, "weight", weight.reshape(module.weight.shape))
        elif isinstance(module, (nn.Linear, nn.Embedding, nn.EmbeddingBag)):
            _set(module, "weight", as_stored(module.weight, weights))
    return model


@torch.no_grad()
def _set(module: nn.Module, name: str, values: Tensor) -> None:
    if parametrize.is_parametrized(module, name):  # removing them would change the original, too
        parametrize.register_parametrization(module, name, _Stored(values), unsafe=True)
    else:
        getattr(module, name).copy_(values)


class _Stored(nn.Module):
    """The last parametrization of a weight: numbers that it has, whatever it is made of."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self._values = values

    def forward(self, _: Tensor) -> Tensor:
        return self._values


@torch.inference_mode()
def _in_torch(modules: Any, x: Tensor) -> Tensor:
    """Return what modules one after the other make of one sequence, (T, ...)."""
    for module in modules:
        weight = next(module.parameters(), None)
        if x.is_floating_point() and weight is not None:
            x = x.to(weight.dtype)
        if not hasattr(module, "initial_state"):
            x = module(x)
            continue
        time = 1 if module.batch_first else 0
        given: dict[str, Tensor] = {}
        x = x.unsqueeze(1 - time)
        if isinstance(module, RecurrentLayer) and module.cell.inputs:
            names = module.cell.inputs
            more = x[..., module.input_size :].chunk(len(names), -1)
            given = dict(zip(names, more, strict=True))
            x = x[..., : module.input_size]
        x = module(x, **given)[0].squeeze(1 - time)
    return x.float()


# ---- The model in C ------------------------------------------------------------------------------


class _Library:
    def __init__(self, program: Program, library: ctypes.CDLL) -> None:
        self._program, self._library = program, library
        library.check_size.restype = ctypes.c_size_t
        self._model = ctypes.create_string_buffer(library.check_size())
        self._function("init")(self._model)

    def _function(self, name: str) -> Any:
        return getattr(self._library, f"{self._program.name}_{name}")

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the model, which must not refuse what it is given."""
        status = self._function(name)(self._model, *arguments)
        assert status == 0, name

    def answer(self, given: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
        """Return what is said of several tensors, as doubles of a shape."""
        out = torch.full(tuple(shape), torch.nan, dtype=torch.float64)
        self.call("run", *(ctypes.c_void_p(each.data_ptr()) for each in (*given, out)))
        return out

    def run(self, x: Tensor) -> Tensor:
        """Return what is said of one sequence, (T, O); or (O,) of the whole, or of a picture."""
        program = self._program
        read = np.ascontiguousarray(x.numpy(), _input_type(program))
        steps = len(read)
        shape = (program.output_size,) if program.is_pooled else (steps, program.output_size)
        out = np.full(shape, np.nan, np.float32)
        self._function("reset")(self._model)
        self.call("run", *self._counted(read), _address(out), *self._room(read))
        return torch.from_numpy(out)

    def scores_after(self, read: NDArray[Any], words: Sequence[int]) -> Tensor:
        """Return the scores after each of several words, (T, V), that follow what is read."""
        room = self._after(read)
        out = np.full((len(words), self._program.output_size), np.nan, np.float32)
        for word, scores in zip(words, out, strict=True):
            self.call("step", ctypes.c_int32(word), *room, _address(scores))
        return torch.from_numpy(out)

    def words_of(self, read: NDArray[Any], most: int) -> list[int]:
        """Return the words that are written after what is read, at most `most`."""
        return written_words(self, most, self._program.output_size, self._after(read))

    def _after(self, read: NDArray[Any]) -> list[Any]:
        """Have something read; return the room that a step is given, if it is given one."""
        room = self._room(read)
        self.call("read", *self._counted(read), *room)
        return room if self._program.places[1] else []

    def _counted(self, read: NDArray[Any]) -> list[Any]:
        """Return what is read as arguments: before it how many steps, but of a picture."""
        counted = [] if self._program.grid is not None else [ctypes.c_int32(len(read))]
        return [*counted, _address(read)]

    def _room(self, read: NDArray[Any]) -> list[Any]:
        """Return room for what is read, if it needs any."""
        program = self._program
        steps = 1 if program.grid is not None else len(read)
        return [(ctypes.c_float * (program.room * steps))()] if program.room else []


def _input_type(program: Program) -> Any:
    """Return the type of what a model reads: pixels, numbers or tokens."""
    if program.grid is not None:
        return np.uint8
    return np.float32 if program.num_tokens is None else np.int32


def _address(numbers: NDArray[Any]) -> Any:
    return numbers.ctypes.data_as(ctypes.c_void_p)


@contextmanager
def _compiled(program: Program) -> Iterator[_Library]:
    compiler = find_compiler()
    if compiler is None:
        raise KernelError("there is no C compiler to check with", "install gcc, or leave check out")
    size = f"size_t check_size(void) {{ return sizeof({program.name}); }}"
    with TemporaryDirectory() as folder:
        source = Path(folder, f"{program.name}.c")
        source.write_text(f"{program.text}\n#include <stddef.h>\n{size}\n")
        source.with_suffix(".h").write_text(program.header)
        library = compiler.compile(source, Path(folder, "zig"), _C99)
        yield _Library(program, ctypes.CDLL(str(library)))
