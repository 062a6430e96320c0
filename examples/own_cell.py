"""A cell of one's own in five lines: its kernel, its speed against a loop, and its gates.

A leaky unit with a rate of its own for each unit. From the equations alone come a layer, a kernel
compiled for this machine, gradients, and every gate by name. Commands take the cell from this file:
`unrolled train lm book.txt --cell examples/own_cell.py:leaky`.
"""

import statistics
import time

import torch
from torch import sigmoid, tanh

import unrolled
from unrolled.kernels import choose_path, kernel_source, using_path


@unrolled.cell(gates="f g", keeps="f")
def leaky(x, u, h, *, slope=1.0):
    f = sigmoid(x.f + u.f)
    g = tanh(slope * (x.g + u.g))
    return dict(h=f * h + (1 - f) * g, f=f, g=g)


def training_step(layer, x, path):
    """Return the milliseconds of a forward and a backward pass on `path`."""
    with using_path(path):
        begin = time.perf_counter()
        layer(x)[0].sum().backward()
        return 1e3 * (time.perf_counter() - begin)


def main():
    torch.manual_seed(0)
    layer = unrolled.Recurrent(leaky, input_size=64, hidden_size=128)
    x = torch.randn(100, 16, 64)

    path = choose_path(leaky)
    print(f"{leaky} runs on: {path}")
    if path == "kernel":
        times = {"reference": [], "kernel": []}
        for _ in range(7):
            for path, measured in times.items():
                measured.append(training_step(layer, x, path))
        loop, kernel = (statistics.median(measured) for measured in times.values())
        print(f"training step: loop {loop:.1f} ms, kernel {kernel:.1f} ms, {loop / kernel:.1f}x")

    source = kernel_source(leaky)
    step = source[source.index("INL void step_forward") :]
    print(step[: step.index("\n}\n") + 2])

    (record,) = unrolled.trace(layer, x)
    for name, value in record.values.items():
        print(f"{name}: {tuple(value.shape)}, mean {value.mean():.3f}, deviation {value.std():.3f}")
    print(f"recorded at every step: {', '.join(record.values)}")


if __name__ == "__main__":
    main()
