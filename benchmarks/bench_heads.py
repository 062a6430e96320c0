"""An sLSTM with heads in training: its kernel, one without heads, and a loop under torch.compile.

The loop is by hand: the input's product is one, before it, and the recurrent one is one product a
head (`torch.bmm`). Compiled is one step, or with `--whole` all steps as one graph, which takes
minutes. One pass is forward and backward, in turns. Times are medians, ratios medians of those of
passes in the same turn; of one thread, times of the processor, which other processes disturb less.
With `--check` it fails where the loop takes less than 3 times as long as the kernel.

    python benchmarks/bench_heads.py
    python benchmarks/bench_heads.py --threads 1 --steps 32
"""

import argparse
import statistics
import time

import torch
from torch import Tensor, exp, maximum, nn, sigmoid, tanh, where
from torch.nn.functional import linear, logsigmoid

import unrolled
from unrolled.benchmark.machine import available_cores, load, processor

SIZES = {"steps": 128, "rows": 64, "input": 256, "hidden": 256, "heads": 4}
LEAST = 3.0
State = tuple[Tensor, Tensor, Tensor, Tensor]


def step(part: Tensor, weight: Tensor, bias: Tensor, state: State) -> State:
    """Return the states after a step; weight: (heads, K, 4 K), bias: (heads, 1, 4 K)."""
    h, c, n, m = state
    heads, size, _ = weight.shape
    u = torch.baddbmm(bias, h.view(-1, heads, size).transpose(0, 1), weight)  # (heads, B, 4 K)
    u = u.view(heads, -1, 4, size).permute(1, 2, 0, 3).flatten(2)  # (B, 4, H)
    i, f, g, o = (part.view(len(h), 4, -1) + u).unbind(1)
    kept = where(n > 0, logsigmoid(f) + m, i)
    m = maximum(i, kept)
    c = exp(kept - m) * c + exp(i - m) * tanh(g)
    n = exp(kept - m) * n + exp(i - m)
    return sigmoid(o) * (c / n), c, n, m


class Loop(nn.Module):
    """The loop, with the weights of a layer of ours."""

    def __init__(self, layer: unrolled.Recurrent) -> None:
        super().__init__()
        self.layer, self.heads, self.step = layer, layer.heads, step

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, (T, B, H)."""
        layer, heads = self.layer, self.heads
        size = layer.hidden_size // heads
        weight = layer.weight_hh_l0.view(4, heads, size, size).permute(1, 3, 0, 2).flatten(2)
        bias = layer.bias_hh_l0.view(4, heads, size).transpose(0, 1).flatten(1)[:, None]
        state = (x.new_zeros(x.shape[1], layer.hidden_size),) * 4
        outputs = []
        for part in linear(x, layer.weight_ih_l0, layer.bias_ih_l0).unbind():
            state = self.step(part, weight, bias, state)
            outputs.append(state[0])
        return torch.stack(outputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, value in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--whole", action="store_true", help="Compile all steps as one graph.")
    parser.add_argument("--below", action="store_true", help="With the gradient of the input.")
    parser.add_argument("--check", action="store_true", help="Fail below the target.")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    print(f"{processor()}, {available_cores()} cores, torch {torch.__version__}, load {load():.1f}")
    print({name: getattr(chosen, name) for name in SIZES}, f"{chosen.threads} threads")
    layer = unrolled.Recurrent("slstm_heads", chosen.input, chosen.hidden, heads=chosen.heads)
    loop, compiled = Loop(layer), Loop(layer)
    if chosen.whole:
        compiled.compile()
    else:
        compiled.step = torch.compile(step)
    dense = unrolled.Recurrent("slstm", chosen.input, chosen.hidden)
    ways = {
        "heads": lambda x: layer(x)[0],
        "one head": lambda x: dense(x)[0],
        "loop": loop,
        "compiled loop": compiled,
    }
    x = torch.randn(chosen.steps, chosen.rows, chosen.input, requires_grad=chosen.below)
    torch.testing.assert_close(layer(x)[0], loop(x), rtol=1e-3, atol=1e-5)
    clock = time.process_time if chosen.threads == 1 else time.perf_counter
    times: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(chosen.repeats + 2):
        for way, run in ways.items():
            begin = clock()
            run(x).sum().backward()
            if turn > 1:  # the first ones compile
                times[way].append(clock() - begin)
    for way, taken in times.items():
        ratio = statistics.median(t / mine for t, mine in zip(taken, times["heads"], strict=True))
        spread = f"{1e3 * min(taken):.0f} to {1e3 * max(taken):.0f}"
        print(f"{way:<14} {1e3 * statistics.median(taken):7.0f} ms ({spread}), {ratio:.2f} x heads")
    if chosen.check and ratio < LEAST:
        raise SystemExit(f"the compiled loop takes {ratio:.2f} times as long, not {LEAST:g}")


if __name__ == "__main__":
    main()
