# %% [markdown]
# # 3. The vanishing gradient, measured
#
# An error teaches a network only what its gradient still feels. In a plain recurrent network that gradient is
# multiplied by a matrix and by the slope of tanh at every step on its way back, and usually it shrinks to
# nothing. Gated cells were invented against this. Here it is measured: in an RNN, a GRU and an LSTM, and in an
# LSTM whose forget gate begins open.

# %%
import math

import matplotlib.pyplot as plt
import torch

import unrolled
from unrolled.inspection import gradient_reach, verdict

torch.manual_seed(0)
x = torch.randn(100, 8, 10)  # 100 steps, 8 sequences, 10 numbers
layers = {
    "RNN": unrolled.RNN(10, 64),
    "GRU": unrolled.GRU(10, 64),
    "LSTM": unrolled.LSTM(10, 64),
    "LSTM, open": unrolled.LSTM(10, 64),
}
unrolled.initialize.forget_bias(layers["LSTM, open"], 3.0)

# %% [markdown]
# `gradient_reach` takes the loss of the last step back and measures, for every lag k, the length of the gradient
# in the state k steps earlier. `verdict` says what that means for a memory of, say, 50 steps.

# %%
reaches = {name: gradient_reach(layer, x) for name, layer in layers.items()}
for name, reach in reaches.items():
    found = verdict(reach, wanted=50)
    print(f"{name:10} {found.kind:10} a hundredth is left after {found.horizon_steps} steps")

# %% [markdown]
# A gate alone does not help: with torch's initial weights the gates stand about half open, and the GRU and the LSTM
# lose their gradient nearly as fast as the RNN. What helps is a gate that is open, from the start or once it has been
# learned.
#
# The figure shows the gradient in `h` of the RNN and the GRU, and in the cell state `c` of the LSTMs. A straight
# line in this scale means: every step multiplies by the same number. The last curve also counts the way from `c`
# through the output and back into the gates, and so may rise.

# %%
figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name, reach in reaches.items():
    state = "c" if "LSTM" in name else "h"
    axes.semilogy(reach.lags, reach.relative()[state][0], label=f"{name}: {state}")
axes.axhline(0.01, color="grey", linestyle=":")
_ = axes.set(xlabel="steps back", ylabel="part that is left", ylim=(1e-6, 2))
_ = axes.legend()

# %% [markdown]
# ## Why a gate helps
#
# The cell state of an LSTM is
#
#     c_t = f_t * c_{t-1} + i_t * g_t
#
# Along this line the gradient is multiplied by the forget gate f alone: no matrix, no tanh. If all weights are zero
# and the forget gate has a bias b, then f is σ(b) at every step, and k steps back σ(b) to the power of k is left of
# the gradient in c. So the half-life is known before anything is measured: ln 0.5 / ln σ(b) steps.

# %%
layer = unrolled.LSTM(10, 64)
with torch.no_grad():
    for parameter in layer.parameters():
        parameter.zero_()
    for bias in (1.0, 3.0, 5.0):
        layer.bias_ih_l0[64:128] = bias  # the gates lie in the order i, f, g, o
        measured = verdict(gradient_reach(layer, x), wanted=50).half_life_steps
        known = math.log(0.5) / math.log(1 / (1 + math.exp(-bias)))
        print(
            f"bias {bias:.0f}: half-life {measured:6.2f} steps measured, {known:6.2f} by arithmetic"
        )

# %% [markdown]
# ## The other way: it explodes
#
# If the matrix stretches, the gradient grows with every step instead. Training then jumps; that is what
# clipping the gradient's norm is for. Saturated units, whose tanh is flat, work against it, so the growth shows
# best near the state zero.

# %%
layer = unrolled.RNN(10, 64)
with torch.no_grad():
    for factor in (1.0, 2.0, 3.0):
        torch.nn.init.orthogonal_(layer.weight_hh_l0, gain=0.5 * factor)
        found = verdict(gradient_reach(layer, 1e-3 * x[:30]), wanted=20)
        print(f"each step multiplies by {0.5 * factor}: {found.kind}")

# %% [markdown]
# ## Try it
#
# - Which forget bias does a memory of 200 steps need? Compute it, then measure it.
# - `unrolled.initialize.chrono` spreads the biases over a range of time spans. What does its curve look like?
# - Measure a network of your own that has been trained: `unrolled.load("runs/...").model.layer`, or
#   `unrolled inspect RUN` for the whole report.
#
# More: [looking inside](../docs/inspect.md). Next: [what the gates of a trained network
# do](04_gates.ipynb).
