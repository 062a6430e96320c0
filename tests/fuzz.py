"""Fuzzing of what reaches a kernel: the operators and layers, with tensors of any shape and kind.

    python tests/fuzz.py --minutes 60

Bytes are read as the arguments of one call. An outcome that was not seen before keeps its bytes in
the corpus, from which later inputs are made by changing some of them. Calls are made in a process
of their own, which is started again; one that dies ends the run, with the line that repeats it.
Numbers are checked too: what runs must give what the reference loop gives.
"""

import argparse
import ctypes
import mmap
import random
import re
import subprocess
import sys
import time
import warnings
from pathlib import Path

import torch

import unrolled
from unrolled.kernels import using_path
from unrolled.kernels.running.paths import kernel_of

CORPUS = Path(__file__).parent / "kernels" / "fuzz_corpus.txt"
LENGTH = 64  # bytes of an input
ROUND = 200  # inputs of one process's life between two reports
MAKES = [unrolled.RNN, unrolled.GRU, unrolled.LSTM, unrolled.JANET]
MAKES.append(lambda *sizes: unrolled.GRU(*sizes, reset="before"))


class Reader:
    """Numbers out of bytes; zeros where they end."""

    def __init__(self, data):
        self._bytes = iter(data)

    def below(self, end):
        return next(self._bytes, 0) % end

    def one(self, *choices):
        return choices[self.below(len(choices))]

    def rarely(self):
        return self.below(16) == 15


# ---- Tensors -------------------------------------------------------------------------------------


def guarded(t):
    """The same numbers, right before a page that nobody may read."""
    page = mmap.PAGESIZE
    size = -(-max(t.numel(), 1) * 4 // page) * page
    memory = mmap.mmap(-1, size + page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address + size), page, 0) == 0
    made = torch.frombuffer(
        memory, dtype=torch.float32, offset=size - 4 * t.numel(), count=t.numel()
    )
    return made.view(t.shape).copy_(t)


def overlapping(t):
    return torch.as_strided(0.2 * torch.randn(t.numel() + 8), t.shape, (1,) * t.dim())


def freed(t):
    t = t.clone()
    t.untyped_storage().resize_(0)
    return t


def zeros(t):
    return torch._efficientzerotensor(t.shape)


USUAL = [
    lambda t: t,
    lambda t: t.transpose(0, -1).contiguous().transpose(0, -1),
    lambda t: torch.stack([t, t], -1)[..., 0],
    lambda t: t.flip(0),
    overlapping,
    lambda t: t[:1].expand(t.shape) if len(t) else t,
]
ODD = [
    torch.Tensor.double,
    torch.Tensor.half,
    torch.Tensor.long,
    lambda t: torch.complex(t, t),
    lambda t: torch.complex(t, -t).conj().imag,
    zeros,
    lambda t: t.to("meta"),
    torch.Tensor.to_sparse,
    freed,
    lambda t: t[..., :-1],
    lambda t: t[1:],
    lambda t: torch.cat([t, t]),
    lambda t: t.unsqueeze(0),
    lambda t: t.flatten(),
    lambda t: t.reshape(t.shape[::-1]),
    torch.nn.Parameter,
]


OTHER_KINDS = [kind for kind in ODD if kind is not zeros]  # that keep the numbers


def tensor(read, *shape):
    """A tensor of `shape`, mostly."""
    made = 0.2 * torch.randn(shape)  # small, or rounding grows from step to step
    made = guarded(made) if made.numel() else made
    made = read.one(*USUAL)(made)
    return read.one(*ODD)(made) if read.rarely() else made


def lengths(read, num_steps, batch_size):
    if read.below(2):
        return None
    made = torch.tensor([read.below(num_steps + 1) for _ in range(batch_size)], dtype=torch.int64)
    if read.rarely():
        return read.one(
            made + 3, made - 3, made.double(), made[1:], made.to(torch.uint16), made == 1
        )
    return made


def few(read, items):
    """The items, rarely one too few or too many."""
    return read.one(items[1:], items[:-1], items + items[:1]) if read.rarely() else items


# ---- Calls ---------------------------------------------------------------------------------------


def sizes(read):
    num_steps, batch_size = read.one(0, 1, 2, 5, 17), read.one(0, 1, 2, 3, 9, 40)
    return num_steps, batch_size, read.one(1, 2, 3, 16, 33), read.one(1, 2, 5, 16, 17, 64, 70)


def of_operator(read):
    num_steps, batch_size, width, hidden = sizes(read)
    layer = read.one(*MAKES)(width, hidden)
    cell = layer.cell
    shapes = [weight.shape for weight in layer.weights_of("l0").tensors()]
    arguments = [
        tensor(read, num_steps, batch_size, width),
        lengths(read, num_steps, batch_size),
        few(read, [tensor(read, batch_size, hidden) for _ in cell.states]),
        few(read, [tensor(read, *shape) for shape in shapes]),
        cell.key,
        not read.rarely(),
        read.rarely(),
        bool(read.below(2)),
    ]
    with torch.no_grad():
        return torch.ops.unrolled.recurrence(*arguments)


def of_backward(read):
    num_steps, batch_size, width, hidden = sizes(read)
    layer = read.one(*MAKES)(width, hidden)
    cell, weights = layer.cell, [*layer.weights_of("l0").tensors()]
    states = [tensor(read, batch_size, hidden) for _ in cell.states]
    x = tensor(read, num_steps, batch_size, width)
    first = [x, lengths(read, num_steps, batch_size), states, weights, cell.key, True, False, False]
    with torch.no_grad():
        kernel = kernel_of(cell)
        gate_width = kernel.gate_width(hidden) if kernel and not read.rarely() else read.below(300)
        output, *rest = torch.ops.unrolled.recurrence_train(*first, gate_width)
        tape = few(read, rest[len(states) :])
        changed = [read.one(*OTHER_KINDS)(t) if t.dim() and read.rarely() else t for t in tape]
        gradients = [tensor(read, *output.shape), *(None for _ in states)]
        if read.below(2):
            gradients = [None, *(tensor(read, *state.shape) for state in states)]
        wanted = [not read.rarely() for _ in [x, *states, *weights]]
        return torch.ops.unrolled.recurrence_backward(
            *first, few(read, gradients), output, changed, few(read, wanted)
        )


def of_layer(read):
    num_steps, batch_size, width, hidden = sizes(read)
    options = {"num_layers": read.one(1, 1, 2), "bidirectional": bool(read.rarely())}
    layer = read.one(*MAKES[:4])(width, hidden, **options)
    x = tensor(read, num_steps, batch_size, width)
    if x.is_floating_point() and read.below(2):
        x = x.detach().requires_grad_()
    state = None
    if read.below(2):
        shape = (len(layer.suffixes), batch_size, hidden)
        state = tuple(few(read, [tensor(read, *shape) for _ in layer.cell.states]))
        state = state[0] if len(layer.cell.states) == 1 and state else state
    hook = read.one(*OTHER_KINDS) if read.rarely() else freed
    hook = hook if hook is not freed else lambda t: t  # of freed ones torch's operations die
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: t, lambda t: hook(t) if t.dim() > 1 and t.dtype is torch.float32 else t
    ):
        output, _ = layer(x, state, lengths=lengths(read, num_steps, batch_size))
    if read.rarely():
        output.relu_()
    gradient = tensor(read, *output.shape)
    if gradient.layout is torch.strided and not gradient.untyped_storage().nbytes():
        gradient = torch.zeros(output.shape)  # of freed ones torch dies on the way to the layer
    output.backward(gradient)
    return [output.detach(), *(weight.grad for weight in layer.parameters())]


def of_stream(read):
    _, batch_size, width, hidden = sizes(read)
    layer = read.one(*MAKES)(width, hidden)
    stream, outputs = layer.stream(batch_size), []
    for _ in range(4):
        if read.rarely():
            name = read.one("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")
            weight = getattr(layer, name)
            weight.data = tensor(read, *weight.shape)
        if read.rarely():
            stream.state = stream.state
        if read.below(2):
            outputs.append(stream.step(tensor(read, batch_size, width)))
        else:
            outputs.append(stream.push(tensor(read, read.below(3), batch_size, width)))
    return outputs


def called(data):
    """What comes of an input: the results, or the exception."""
    read = Reader(data)
    call = read.one(of_operator, of_backward, of_layer, of_stream)
    torch.manual_seed(read.below(4))
    try:
        return call.__name__, call(read)
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        return call.__name__, error


def outcome_of(data):
    """One line for all inputs with the same outcome.

    Raises:
        AssertionError: The results are not those of the reference loop.
    """
    name, got = called(data)
    with using_path("reference"):
        _, expected = called(data)
    if isinstance(got, Exception):
        kind = re.sub(r"[-\d., ()\[\]]+", " ", str(got).splitlines()[0])[:60] if str(got) else ""
        return f"{name}: {type(got).__name__}: {kind}"
    if not isinstance(expected, Exception):
        for ours, theirs in zip(got, expected, strict=True):
            if ours is not None and theirs is not None and ours.device.type == "cpu":
                torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3, equal_nan=True)
    shapes = ["0" if one is None or not one.numel() else "n" for one in got]
    return f"{name}: {''.join(shapes)}"


# ---- The search ----------------------------------------------------------------------------------


def corpus():
    return [bytes.fromhex(line) for line in CORPUS.read_text().split()] if CORPUS.exists() else []


def changed(data, draw):
    data = bytearray(data.ljust(LENGTH, b"\0"))
    for _ in range(draw.randint(1, 6)):
        data[draw.randrange(LENGTH)] = draw.randrange(256)
    return bytes(data)


def work(seed):
    """Read known inputs from stdin, make a round of others, and print what each comes to."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(2)
    known, draw = [bytes.fromhex(line) for line in sys.stdin.read().split()], random.Random(seed)
    for _ in range(ROUND):
        new = not known or draw.random() < 0.3
        data = draw.randbytes(LENGTH) if new else changed(draw.choice(known), draw)
        say(data.hex())
        say(outcome_of(data))


def search(minutes, seed):
    """Run until the time is over; return 1 at the first input that dies or is wrong."""
    end, known, calls = time.monotonic() + 60 * minutes, corpus(), 0
    warnings.simplefilter("ignore")
    seen = {outcome_of(data) for data in known}
    while time.monotonic() < end:
        seed += 1
        ran = subprocess.run(
            [sys.executable, __file__, "--work", str(seed)],
            input="\n".join(data.hex() for data in known),
            capture_output=True,
            text=True,
            check=False,
        )
        lines = ran.stdout.splitlines()
        if ran.returncode:
            say(f"process ended with {ran.returncode} at: {lines[-1] if lines else ''}")
            say(ran.stderr[-2000:])
            return 1
        for data, outcome in zip(lines[::2], lines[1::2], strict=True):
            calls += 1
            if outcome not in seen:
                seen.add(outcome)
                known.append(bytes.fromhex(data))
                CORPUS.write_text("".join(f"{one.hex()}\n" for one in known))
        say(f"{calls} calls, {len(known)} in the corpus")
    return 0


def say(text):
    """Print, at once: a process may not come back."""
    print(text, flush=True)  # noqa: T201 - the command's output


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9)
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work is not None:
        work(options.work)
        return
    sys.exit(search(options.minutes, options.seed))


if __name__ == "__main__":
    main()
