"""Kernels as programs of their own: with sanitizers, between guard pages, for other machines.

`driver.c` runs a kernel outside of Python, so that it can be built with what Python could not bear
and for a processor that this machine must emulate. What it computes is held against the reference.

UNROLLED_SANITIZE=1 (`make sanitize`) runs all cells and sizes, and builds with the sanitizers.
"""

import ctypes
import functools
import itertools
import json
import os
import platform
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

import unrolled
from support.cells import crowded, example_cell
from support.rounding import Exact, assert_right_to_rounding
from unrolled import cells
from unrolled.cells.surroundings import Surroundings
from unrolled.kernels import Weights, kernel_source, reference_recurrence
from unrolled.kernels.building.compiler import FLAGS
from unrolled.kernels.emitting.call import Call
from unrolled.kernels.emitting.headers import header_text
from unrolled.kernels.running.kernel import Kernel, KernelPasses, kernel_recurrence
from unrolled.kernels.running.mixed import MixedProducts
from unrolled.kernels.running.problem import Problem
from unrolled.kernels.running.proof import rounded_weights

DRIVER = Path(__file__).with_name("driver.c")
THOROUGH = bool(os.environ.get("UNROLLED_SANITIZE"))


@unrolled.cell(gates="a b n m k", applied="n m k", states="h c", delays="h:4")
def chained(x, u, h, h_2, h_4, c, *, scale=0.5):
    """Products of products, in four phases, and former outputs."""
    a = torch.sigmoid(x.a + u.a + scale * h_2)
    n = torch.tanh(x.n + u.n(a * h_4))
    m = torch.tanh(x.m * u.m(n + h_2) + u.b)
    c = a * c + (1 - a) * torch.tanh(u.k(m * n) + x.k)
    return dict(h=a * torch.tanh(c + x.b) + (1 - a) * n, c=c, m=m)


@unrolled.cell(gates="z a m n k", states="h c", recurrent="z a m n", applied="m n", heads=3)
def grouped(x, u, h, c, *, scale=0.5):
    """Heads: two products with the output before at once, and two in a chain."""
    c = torch.sigmoid(x.z + u.z) * c + scale * torch.tanh(x.a + u.a)
    m = torch.tanh(u.m(c) + x.m * x.k)
    return dict(h=torch.tanh(x.n + u.n(m * h)) + 0.5 * c, c=c, m=m)


@unrolled.cell(gates="a b n", states="h m", applied="n")
def normalised(x, u, h, m, *, gain=1.0, shift=0.1):
    """Sums over units of all kinds, in both halves of a step: before and after a product."""
    f = torch.nn.functional
    a = torch.sigmoid(f.layer_norm(x.a, x.a.shape[-1:], gain) + u.a)
    v = f.rms_norm(a * h, h.shape[-1:], eps=0.01) + shift
    n = f.layer_norm(u.n(v) + x.n, h.shape[-1:])
    b = torch.cumsum(torch.softmax(x.b + u.b, -1), -1)
    m = b * m + (1 - b) * torch.tanh(n) - 0.1 * (n - n.amax(-1, keepdim=True))
    h = torch.tanh(m - m.mean(-1, keepdim=True)) + 0.1 * m.amin(-1, keepdim=True)
    return dict(h=h, m=m, n=n, spread=torch.tanh(m.std(-1, keepdim=True, correction=0) * a))


@unrolled.cell(gates="r n", inputs="dt mask x_t", applied="n")
def fed(x, u, h, dt, mask, x_t, *, scale=0.5):
    """What is given at a step beside x, and x itself, before and after an applied product."""
    r = torch.sigmoid(x.r + u.r) * torch.exp(-scale * dt.abs())
    n = torch.tanh(x.n + u.n(r * h + 0.1 * x_t)) * mask
    return dict(h=r * h + (1 - r) * n + 0.2 * x_t, r=r, dt=dt)


CELLS = [
    cells.lstm,
    cells.gru_reset_before,
    crowded,
    fed,
    example_cell("min_gru"),
    cells.rnn_tanh,
    cells.rnn_relu,
    cells.gru_reset_after,
    cells.janet,
    example_cell("peephole_lstm"),
    chained,
    grouped,
    normalised,
]
CELLS += [cell for cell in cells.CELLS.values() if cell not in CELLS]


@functools.cache
def source_of(cell, weights="f32"):
    """Return the kernel of a cell, which takes a second to trace, and what it says of itself."""
    text = kernel_source(cell, products=weights)
    (line,) = (line for line in text.splitlines() if "unrolled_description[] = " in line)
    return text, json.loads(json.loads(line.partition(" = ")[2].rstrip(";")))


# ---- The program ---------------------------------------------------------------------------------


class Machine:
    """A way to build and run programs; `runner` is what runs them, if not this machine itself."""

    def __init__(self, name, compiler, *flags, runner=(), optimize="-O2"):
        self.name, self.compiler, self.flags, self.runner = name, compiler, flags, runner
        self.optimize = optimize
        self.missing = [p for p in (compiler, *runner[:1]) if shutil.which(p) is None]

    def build(self, cell, folder, weights="f32"):
        name = f"{cell.name}-{weights}"
        text, program = folder / f"{name}.c", folder / f"{name}-{self.name}"
        text.write_text(source_of(cell, weights)[0])
        shared = [
            flag
            for flag in FLAGS
            if flag[:6] not in ("-march", "-share", "-fPIC") and flag != "-O2"
        ]
        warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"]
        if self.compiler == "clang":  # -fno-trapping-math stands after -fno-fast-math
            warnings += ["-Wno-unknown-warning-option", "-Wno-overriding-t-option"]
        kernel = f'-DKERNEL="{text.name}"'
        command = [self.compiler, self.optimize, *shared, *self.flags, *warnings, f"-I{folder}"]
        command += [kernel, str(DRIVER), "-pthread", "-o", str(program), "-lm"]
        subprocess.run(command, check=True)
        return program


NATIVE = Machine("native", "gcc", "-march=native")
WITHOUT_PAIRS = Machine("without pairs", "gcc", "-march=native", "-mno-avx512bf16")
ARM = Machine("aarch64", "aarch64-linux-gnu-gcc", "-static", runner=("qemu-aarch64",))
SANITIZED = ["-g", "-march=native", "-fno-sanitize-recover=all"]
ADDRESS = Machine("address", "gcc", *SANITIZED, "-fsanitize=address,undefined", optimize="-O1")
THREAD = Machine("thread", "gcc", *SANITIZED, "-fsanitize=thread", optimize="-O1")
# Without what cannot be reached on this machine, and where gcc joins no two ways out of a function:
# of a joined one it counts no run of the line.
COUNTED = ["--coverage", "-fno-thread-jumps", "-fno-tree-dominator-opts"]
COVERED = Machine("coverage", "gcc", "-march=native", *COUNTED, optimize="-Og")


def executed_lines(folder, cell):
    """Yield each line of the headers that makes code, (header, number, text), and its count."""
    source = (folder / f"{cell.name}-f32.c").read_text()
    places = {}
    for name in (
        "vector",
        "tile",
        "call",
        "reduce",
        "pack",
        "forward",
        "backward",
        "gradient",
        "entry",
    ):
        text = header_text(name)
        if text not in source:  # of cells without sums over units
            continue
        first = source[: source.index(text)].count("\n") + 1
        for number, line in enumerate(text.splitlines()):
            places[first + number] = (name, number + 1, line.strip())
    (notes,) = folder.glob("*.gcno")
    command = ["gcov", "--json-format", "--stdout", notes.name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    for file in json.loads(done.stdout)["files"]:
        if Path(file["file"]).name == f"{cell.name}-f32.c":
            for line in file["lines"]:
                if place := places.get(line["line_number"]):
                    yield place, line["count"]


def machines():
    """Processors and compilers whose programs this machine can run or emulate.

    x86-64-v3 is what `NATIVE` is where there is no AVX-512: the default run leaves it out there.
    """
    yield ARM
    if platform.machine() == "x86_64":
        capability = torch.backends.cpu.get_cpu_capability()
        for compiler in ("gcc", "clang") if THOROUGH else ("gcc",):
            yield Machine(f"{compiler} x86-64", compiler, "-march=x86-64")
            if capability != "DEFAULT" and (THOROUGH or capability != "AVX2"):
                yield Machine(f"{compiler} x86-64-v3", compiler, "-march=x86-64-v3")
    if THOROUGH:
        yield Machine("clang native", "clang", "-march=native")


@pytest.fixture(scope="module")
def program_of(tmp_path_factory):
    """A function of a machine and a cell: the cell's kernel as a program for the machine."""
    folder, known = tmp_path_factory.mktemp("programs"), {}

    def build(machine, cell, weights="f32"):
        if machine.missing:
            pytest.skip(f"no {' and no '.join(machine.missing)}")
        key = machine.name, cell.name, weights
        if key not in known:
            known[key] = machine.build(cell, folder, weights)
        return known[key]

    return build


CLOCKS = ("near", "far", "late")  # see driver.c


class Program:
    """Stands where `Library` does: each call is one run of the program.

    The program makes the packed weights and the workspace itself. Every buffer that it is given
    ends where its last number does, in memory that it must not leave (`place`, and `clock`: see
    driver.c).
    """

    def __init__(self, machine, program, cell, place, num_threads, folder, clock="near"):
        description = source_of(cell)[1]
        self.trains = True
        self.slots, self.scratch_slots = description["slots"], description["scratch_slots"]
        self.numbers = description["numbers"]
        self.records, self.cell = description["records"], cell
        self._folder = folder
        self._command = [*machine.runner, str(program)]
        self._options = [str(num_threads), place]
        self.clock = clock

    def packed_floats(self, call):  # noqa: ARG002 - as the library's
        return 0

    def workspace_floats(self, call, *, backward):  # noqa: ARG002
        return 0

    def pack(self, call, *, known):
        """Done by the program's forward pass."""

    def forward(self, call):
        output, *others = (f"states {s}" for s in range(len(self.cell.states)))
        written = {"gates", "records", output, *others}
        self._run("forward", call, written, updated=set() if call.train else set(others))

    def backward(self, call):
        gradients = {name for name, _ in self._buffers(call) if name.startswith("d_")}
        updated = {name for name in gradients if name.startswith("d_states")} | {"gates"}
        self._run("backward", call, {"gates", *gradients} - {"d_output"}, updated)

    def _buffers(self, call):
        """Yield the name and the number of bytes of all that a Call points to, in its order."""
        steps, rows, inputs, units, x_stride = (
            getattr(call, name)
            for name in ("num_steps", "num_rows", "input_size", "hidden_size", "x_stride")
        )
        parts = (ctypes.c_int64 * (call.num_parts + 1)).from_address(call.parts)
        batch, cell = parts[call.num_parts], self.cell
        gates, recurrent = len(cell.feedforward) * units, len(cell.recurrent) * units
        weights = {
            "weight_ih": gates * inputs,
            "weight_hh": recurrent * call.head_size,
            "bias_ih": gates,
            "bias_hh": recurrent,
        }
        yield from (("batch_sizes", 8 * steps), ("starts", 8 * steps), ("parts", 8 * len(parts)))
        yield from (("x", 4 * rows * x_stride), ("inputs", -1))
        yield from ((name, 4 * size) for name, size in weights.items())
        yield from ((f"parameters {n}", 4 * units) for n in range(24))
        yield from (("packed", -1), ("workspace", -1))
        yield "gates", 4 * rows * call.gate_stride
        yield "records", 4 * rows * len(self.records) * units
        yield from ((f"initial {s}", 4 * batch * units) for s in range(32))
        yield from (
            (f"states {s}", 4 * (batch if s and not call.train else rows) * units)
            for s in range(32)
        )
        yield "d_output", 4 * rows * units
        yield from ((f"d_states {s}", 4 * batch * units) for s in range(32))
        yield "d_x", 4 * rows * x_stride
        yield from ((f"d_{name}", 4 * size) for name, size in weights.items())
        yield from ((f"d_parameters {n}", 4 * units) for n in range(24))

    def _run(self, which, call, written, updated):
        """Run the program; of what is `written`, it is given the content of what is `updated`."""
        given, results = self._folder / "arguments", self._folder / "results"
        buffers = []
        with given.open("wb") as file:
            file.write(bytes(call)[: Call.batch_sizes.offset])
            for name, size in self._buffers(call):
                field, _, index = name.partition(" ")
                address = getattr(call, field)
                address = address[int(index)] if index else address
                if address is None or size < 0:
                    file.write((-1).to_bytes(8, "little", signed=True) + bytes(8))
                    continue
                file.write(size.to_bytes(8, "little") + (name in written).to_bytes(8, "little"))
                unknown = name in written and name not in updated
                file.write(b"\xff" * size if unknown else ctypes.string_at(address, size))  # NaN
                if name in written:
                    buffers.append((address, size))
        done = subprocess.run(
            [*self._command, which, str(given), str(results), *self._options, self.clock],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"status {done.returncode}\n{done.stderr[-4000:]}"
        content = results.read_bytes()
        assert len(content) == sum(size for _, size in buffers)
        for address, size in buffers:
            ctypes.memmove(address, content[:size], size)
            content = content[size:]


# ---- The problems --------------------------------------------------------------------------------


def weights_of(cell, input_size, hidden_size, bias=True):
    """Return weights; the recurrent ones are the blocks of the cell's heads."""

    def weight(*shape):
        return torch.randn(shape) * 0.4

    gates, recurrent = len(cell.feedforward) * hidden_size, len(cell.recurrent) * hidden_size
    return Weights(
        weight(gates, input_size),
        weight(recurrent, hidden_size // cell.heads) if recurrent else None,
        weight(gates) if bias else None,
        weight(recurrent) if bias and recurrent else None,
        None,
        tuple(weight(hidden_size) for _ in cell.parameters),
    )


def mapped(weights, f):
    flat = [None if w is None else f(w) for w in weights[:5]]
    return Weights(*flat, tuple(map(f, weights.parameters)))


def values_and_gradients(run, problem, dtype=torch.float32, *, of_states=True):
    """Return output, states and all gradients of `run`, a path as `reference_recurrence`."""
    x, sizes, weights, states, reverse, upstream = problem

    def leaf(tensor):
        return tensor.detach().to(dtype).clone().requires_grad_()

    x, states, weights = leaf(x), tuple(map(leaf, states)), mapped(weights, leaf)
    for state in states:
        state.requires_grad_(of_states)
    output, after = run(x, sizes, weights, states, reverse=reverse)
    total = sum((r * u.to(dtype)).sum() for r, u in zip((output, *after), upstream, strict=True))
    flat = [w for w in weights[:4] if w is not None]
    sources = [x, *(states if of_states else ()), *flat, *weights.parameters]
    gradients = torch.autograd.grad(total, sources, materialize_grads=True)
    return [output.detach(), *(state.detach() for state in after), *gradients]


def problem_of(cell, sizes, input_size, hidden_size, reverse, idle, bias=True):
    hidden_size += -hidden_size % cell.heads
    batch = sizes[0] + idle
    states = tuple(torch.randn(batch, hidden_size) * 0.5 for _ in cell.states)
    input_size = hidden_size if cell.reads_raw_input else input_size
    x = torch.randn(sum(sizes), input_size + len(cell.inputs) * hidden_size)
    upstream = [torch.randn(len(x), hidden_size), *map(torch.randn_like, states)]
    weights = weights_of(cell, input_size, hidden_size, bias)
    return x, sizes, weights, states, reverse, upstream


RAGGED = (7, 7, 5, 2, 1)  # rows that reach each step
SHORT = [  # sizes, I, H, reverse, rows of length zero
    (RAGGED, 3, 37, False, 1),
    (RAGGED, 33, 17, True, 0),
    ((1, 1, 1), 1, 1, False, 0),
    ((13, 13), 3, 70, True, 0),
    ((7,), 5, 37, False, 1),  # one step, as a stream does it
    ((520, 520, 5), 3, 7, True, 0),  # the gradients of the weights in two blocks
    ((1,), 33, 37, False, 0),  # a single row: its weights are not packed
    ((1,), 17, 70, True, 0),
    ((3, 2), 20, 70, False, 0),  # one chunk: panels of the input weights are packed in turn
    ((30,), 3, 300, False, 0),  # no gradient goes through the recurrent weights: see `check`
    ((5, 5), 3, 70, True, 0),
    ((2, 1), 3, 300, False, 0),
    ((1,), 5, 70, False, 0),  # on one thread
    ((1, 1), 33, 70, True, 0),  # the recurrent weights of two steps are not packed either
]
# Many rows, whose sums are made of blocks and rounds of blocks; few rows of many units, which
# threads share.
LARGE = [
    ((2000, 90, 10), 1700, 7, False, 0),  # rounds of two blocks
    ((16_700, 16_600), 1, 1, True, 0),  # a round of 32
    ((1,) * 16, 3, 256, False, 0),
    ((1,) * 16, 3, 256, True, 0),
    ((2,) * 8, 3, 256, False, 0),
    ((1,) * 16, 3, 170, True, 0),  # if their meetings are short: at 256 a step is worth long ones
]
LONG = [
    *SHORT,
    *LARGE,
    *(
        (sizes, input_size, hidden_size, reverse, 0)
        for (sizes, reverse), input_size, hidden_size in itertools.product(
            [(RAGGED, False), ((30, 30, 17), True), ((1,) * 5, False), ((100, 3), True)],
            [1, 3, 33],
            [1, 7, 16, 17, 37, 70],
        )
    ),
]


@functools.lru_cache(maxsize=len(LONG))
def drawn(seed, cell, shape, bias, of_states, products):
    """Return a problem and its exact results: of every machine the same, and computed once."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        problem = problem_of(cell, *shape, bias)

    def loop(*arguments, **options):
        with MixedProducts() if products == "mixed" else nullcontext():
            return reference_recurrence(cell, *arguments, **options)

    run = functools.partial(values_and_gradients, loop, problem, torch.float64, of_states=of_states)
    return problem, Exact(run, rounds_factors=products == "mixed")


def check(
    machine, program_of, cell, problems, places, tmp_path, threads=(1, 2, 3, 4), products="f32"
):
    """Hold a program's numbers against those of the reference in float64, and return them.

    Of several `places`, separated by spaces, the problems take turns.
    """
    places = places.split()
    program = program_of(machine, cell, products)
    everything = []
    before = torch.get_num_threads()
    seed = torch.initial_seed()
    for number, shape in enumerate(problems):
        num_threads = threads[number % len(threads)]
        of_states = number % 2 == 0  # else a single step needs no recurrent weights
        problem, exact = drawn(seed + number, cell, shape, number % 5 != 4, of_states, products)
        place = places[number % len(places)]
        clock, another = CLOCKS[number // 2 % 3], CLOCKS[(number // 2 + 1) % 3]
        stand_in = Program(machine, program, cell, place, num_threads, tmp_path, clock)
        kernel = Kernel(cell, stand_in, Surroundings(cell.equations))

        def on_kernel(*arguments, reverse, kernel=kernel):
            return kernel_recurrence(kernel, Problem(cell, *arguments, reverse))

        torch.set_num_threads(num_threads)
        try:
            got = values_and_gradients(on_kernel, problem, of_states=of_states)
            stand_in.clock = another
            with torch.no_grad():
                whole = Problem(cell, *problem[:5])
                results, _, records = KernelPasses(kernel, whole).forward(whole, record=True)
        finally:
            torch.set_num_threads(before)
        assert_right_to_rounding(got, exact, near=1e-5)
        for again, first in zip(results, got, strict=False):
            assert torch.equal(again, first), problems[number]  # whoever had a share
        named = dict(zip(stand_in.records, records.unbind(1), strict=True))
        assert torch.equal(named[cell.states[0]], results[0])
        assert records.isfinite().all()
        everything += got
    return everything


def check_smaller_weights(machine, program_of, cell, weights, place, tmp_path):
    """Hold its numbers against the reference in float64, with weights that it need not round.

    Of one step, the program itself compares the ways in which a layer and a stream call it.
    """
    program = program_of(machine, cell, weights)
    before = torch.get_num_threads()
    problems = [*SHORT, ((1,) * 3, 3, 512, False, 0)]  # which four threads share
    for number, (sizes, input_size, hidden_size, reverse, idle) in enumerate(problems):
        num_threads = (1, 2, 4)[number % 3]
        x, _, given, states, *_ = problem_of(cell, sizes, input_size, hidden_size, reverse, idle)
        given = rounded_weights(given, weights)
        problem = Problem(cell, x, sizes, given, states, reverse)
        stand_in = Program(machine, program, cell, place, num_threads, tmp_path)
        torch.set_num_threads(num_threads)
        try:
            kernel = Kernel(cell, stand_in, Surroundings(cell.equations))
            with torch.no_grad():
                output, after = kernel_recurrence(kernel, problem)
        finally:
            torch.set_num_threads(before)
        wide = [tensor.double() for tensor in problem.tensors()]
        exact = problem.signature().problem(wide, sizes).solved_by(reference_recurrence)
        for got, expected in zip((output, *after), (exact[0], *exact[1]), strict=True):
            assert (got - expected).norm() <= 2e-5 * expected.norm(), problems[number]


every_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
some_cells = pytest.mark.parametrize(
    "cell", CELLS if THOROUGH else CELLS[:2], ids=lambda cell: cell.name
)
PROBLEMS = LONG if THOROUGH else SHORT
mixed = {"products": "mixed"}
MIXED = (chained, grouped, normalised)


@every_cell
@pytest.mark.parametrize("places", ["before", "behind"] if THOROUGH else ["before behind"])
def test_no_kernel_touches_what_lies_beside_its_memory(cell, places, program_of, tmp_path):
    if not THOROUGH and CELLS.index(cell) % 2:  # each problem is at both places, of some cells
        places = "behind before"
    check(NATIVE, program_of, cell, PROBLEMS, places, tmp_path)


@some_cells
@pytest.mark.parametrize("machine", list(machines()), ids=lambda machine: machine.name)
def test_kernels_of_other_machines_equal_the_reference(cell, machine, program_of, tmp_path):
    check(machine, program_of, cell, PROBLEMS, "before", tmp_path)


@pytest.mark.parametrize(
    ("weights", "place"), [("bf16", "behind"), ("int8", "behind"), ("int8", "before")]
)
@pytest.mark.parametrize("cell", CELLS[: 13 if THOROUGH else 4], ids=lambda cell: cell.name)
def test_no_kernel_of_smaller_weights_touches_what_lies_beside_its_memory(
    cell, place, weights, program_of, tmp_path
):
    check_smaller_weights(NATIVE, program_of, cell, weights, place, tmp_path)


@pytest.mark.parametrize("weights", ["bf16", "int8"])
@pytest.mark.parametrize("machine", list(machines()), ids=lambda machine: machine.name)
def test_smaller_weights_are_the_same_numbers_on_other_machines(
    machine, weights, program_of, tmp_path
):
    check_smaller_weights(machine, program_of, cells.lstm, weights, "behind", tmp_path)


@pytest.mark.parametrize("cell", CELLS if THOROUGH else MIXED, ids=lambda cell: cell.name)
def test_mixed_precision_gives_the_same_bits_with_and_without_pairs(cell, program_of, tmp_path):
    """And the numbers of its definition, from and to memory whose neighbours are forbidden."""
    results = []
    for machine, place in ((NATIVE, "behind"), (WITHOUT_PAIRS, "before")):
        torch.manual_seed(0)
        problems = PROBLEMS if THOROUGH else [SHORT[n] for n in (0, 1, 6, 7, 10)]
        got = check(machine, program_of, cell, problems, place, tmp_path, **mixed)
        results.append(got)
    for pairs, floats in zip(*results, strict=True):
        assert torch.equal(pairs, floats)


@pytest.mark.parametrize("machine", list(machines()), ids=lambda machine: machine.name)
def test_mixed_precision_is_the_same_on_other_machines(machine, program_of, tmp_path):
    problems = PROBLEMS if THOROUGH else SHORT[:2]
    check(machine, program_of, cells.gru_reset_before, problems, "before", tmp_path, **mixed)


if THOROUGH:

    @every_cell
    def test_sanitizers_are_silent_on_mixed_precision(cell, program_of, tmp_path):
        check(ADDRESS, program_of, cell, LONG, "heap", tmp_path, **mixed)
        check(THREAD, program_of, cell, SHORT, "heap", tmp_path, (4, 3, 2), **mixed)

    @pytest.mark.parametrize("weights", ["bf16", "int8"])
    @some_cells
    def test_sanitizers_are_silent_on_smaller_weights(cell, weights, program_of, tmp_path):
        for machine in (ADDRESS, THREAD):
            check_smaller_weights(machine, program_of, cell, weights, "heap", tmp_path)

    def test_these_problems_reach_every_line_of_the_headers(tmp_path):
        """Where one is not reached, no sanitizer has looked."""
        if COVERED.missing or shutil.which("gcov") is None:
            pytest.skip("no gcc or no gcov")
        reached, all_lines = set(), set()
        for cell in CELLS:
            folder = tmp_path / cell.name
            folder.mkdir()
            program = COVERED.build(cell, folder)
            check(COVERED, lambda *_, p=program: p, cell, [*SHORT, *LARGE], "heap", folder)
            for line, count in executed_lines(folder, cell):
                all_lines.add(line)
                if count:
                    reached.add(line)
        assert len(all_lines) > 400
        assert sorted(all_lines - reached) == []

    @every_cell
    def test_address_and_undefined_behaviour_sanitizers_are_silent(cell, program_of, tmp_path):
        check(ADDRESS, program_of, cell, LONG, "heap", tmp_path)

    @every_cell
    def test_the_thread_sanitizer_is_silent(cell, program_of, tmp_path):
        together = [LARGE[n] for n in (2, 3, 5)]
        check(THREAD, program_of, cell, [*together * 4, *SHORT * 2], "heap", tmp_path, (4, 3, 2))
