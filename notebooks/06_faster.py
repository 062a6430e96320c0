# %% [markdown]
# # 6. Your `nn.LSTM`, faster
#
# `unrolled.LSTM`, `GRU` and `RNN` have the constructor, the call and the `state_dict` of those in `torch.nn`. So a
# model changes one word and keeps its weights. This notebook replaces a layer, checks that the numbers are the
# same, and measures.

# %%
import statistics
import time

import torch
from torch import nn

import unrolled

torch.manual_seed(0)
theirs = nn.LSTM(input_size=32, hidden_size=64, num_layers=2, batch_first=True)
ours = unrolled.LSTM(input_size=32, hidden_size=64, num_layers=2, batch_first=True)
print(ours.load_state_dict(theirs.state_dict()))

# %% [markdown]
# ## The same numbers
#
# Outputs, states and gradients, each as the greatest difference. They agree to the rounding of float32, not to the
# last bit: sums are made in another order.

# %%
x = torch.randn(16, 50, 32)
results = {}
for name, layer in {"theirs": theirs, "ours": ours}.items():
    output, (h, c) = layer(x)
    output.square().mean().backward()
    results[name] = [output, h, c, *(parameter.grad for parameter in layer.parameters())]
pairs = list(zip(results["theirs"], results["ours"], strict=True))
for name, (a, b) in zip(["output", "h", "c"], pairs, strict=False):
    print(f"{name:8} {(a - b).abs().max().item():.1e}")
worst = max(((a - b).norm() / a.norm()).item() for a, b in pairs[3:])
print(f"gradients of the weights, relative: {worst:.1e}")

# %% [markdown]
# ## How fast
#
# A training step, forward and backward, in turns, so that other work on the machine hits both. The figures below
# are of the machine on which this notebook was run last; run it to see yours. `unrolled bench` measures much more.


# %%
def milliseconds(layer):
    start = time.perf_counter()
    layer(x)[0].sum().backward()
    return 1e3 * (time.perf_counter() - start)


times = {"theirs": [], "ours": []}
for _ in range(9):
    times["theirs"].append(milliseconds(theirs))
    times["ours"].append(milliseconds(ours))
medians = {name: statistics.median(each) for name, each in times.items()}
print(f"torch {medians['theirs']:.1f} ms, unrolled {medians['ours']:.1f} ms")
print(f"{medians['theirs'] / medians['ours']:.1f} times as fast, {torch.get_num_threads()} threads")

# %% [markdown]
# ## Rows of different lengths
#
# With torch, sequences of different lengths are packed and unpacked. Here they are one argument; what lies past a
# row's end is not read, and the state is that at each row's own end.

# %%
lengths = torch.randint(1, 51, (16,))
packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
with torch.no_grad():
    _, (h_theirs, _) = theirs(packed)
    _, (h_ours, _) = ours(x, lengths=lengths)
print(f"greatest difference of the last states: {(h_theirs - h_ours).abs().max().item():.1e}")

# %% [markdown]
# ## A model of somebody else's
#
# Where the layers are inside a library, nothing has to be rewritten. `accelerate` changes a model in place and
# reports what it did, and why it left something alone.


# %%
class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.LSTM(32, 64, bidirectional=True, batch_first=True)
        self.exact = nn.GRU(32, 16).double()
        self.scores = nn.Linear(128, 5)

    def forward(self, x):
        return self.scores(self.words(x)[0])


model = Tagger()
with torch.no_grad():
    before = model(x)
    model, report = unrolled.accelerate(model)
    after = model(x)
print(report)
print(f"greatest difference of the scores: {(before - after).abs().max().item():.1e}")
print("still an nn.LSTM:", isinstance(model.words, nn.LSTM))

# %% [markdown]
# ## Try it
#
# - Measure shapes of your own: `input_size`, `hidden_size`, batch and length. For some shapes torch's code is as
#   fast, and `accelerate` leaves those calls to it.
# - `unrolled.restore(model)` takes the change back.
# - `torch.set_num_threads(1)` and measure again.
#
# More: [models of others](../docs/accelerate.md), [in place of torch.nn](../docs/conventions.md#in-place-of-torchnn),
# [the benchmark](../docs/benchmark.md). Next: [one step at a time](07_streams.ipynb).
