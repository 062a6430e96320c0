# %% [markdown]
# # 5. A cell of your own
#
# A recurrent cell is a few equations. In `unrolled` you write the equations and nothing else: the layer, the
# gradient, lengths, both directions, streaming and a compiled kernel follow from them. Here is a cell that is
# smaller than an LSTM, and a test of whether that costs anything.

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn, sigmoid, tanh

import unrolled
from unrolled.kernels import choose_path
from unrolled.networks import count_parameters, hidden_size_for


@unrolled.cell(gates="f g", keeps="f")
def leaky(x, u, h):
    f = sigmoid(x.f + u.f)  # how much of the old state stays
    g = tanh(x.g + u.g)  # what is new
    return dict(h=f * h + (1 - f) * g, f=f, g=g)


# %% [markdown]
# `x.f` is the input's part of gate f, W_xf x_t + b_xf, and `u.f` the recurrent part, W_hf h_{t-1} + b_hf.
# The argument `h` is the state before the step. The dict holds the new state under the same name, and whatever else
# you want to see later. `keeps="f"` says which gate keeps the old state.

# %%
torch.manual_seed(0)
layer = unrolled.Recurrent(leaky, input_size=8, hidden_size=16)
output, state = layer(torch.randn(50, 4, 8), lengths=[50, 7, 0, 31])
print(tuple(output.shape), "on", choose_path(leaky))
for name, parameter in layer.named_parameters():
    print(f"{name:14} {tuple(parameter.shape)}")

# %% [markdown]
# ## Is it right?
#
# The equations are the definition, so a loop over them in float64 must give the same numbers. The weights of the
# gates lie one below the other, in the order of `gates=`.

# %%
x = torch.randn(20, 3, 8)
with torch.no_grad():
    W, U = layer.weight_ih_l0.double(), layer.weight_hh_l0.double()
    b = (layer.bias_ih_l0 + layer.bias_hh_l0).double()
    h = torch.zeros(3, 16, dtype=torch.float64)
    for x_t in x.double():
        a_f, a_g = (x_t @ W.T + h @ U.T + b).chunk(2, dim=1)
        f = sigmoid(a_f)
        h = f * h + (1 - f) * tanh(a_g)
    difference = (layer(x)[0][-1] - h).abs().max().item()
print(f"greatest difference: {difference:.1e}")

# %% [markdown]
# ## Is it any good?
#
# A test of memory: random symbols of four, each to be repeated ten steps later. Whoever guesses has a loss of
# ln 4 = 1.386 nats. We compare our cell with an LSTM and a plain RNN. For a fair comparison all get the same number
# of weights, so the smaller cell gets more units: `hidden_size_for` finds how many.


# %%
class Echo(nn.Module):
    def __init__(self, cell, hidden_size):
        super().__init__()
        self.layer, self.scores = (
            unrolled.Recurrent(cell, 5, hidden_size),
            nn.Linear(hidden_size, 4),
        )

    def forward(self, symbols):
        return self.scores(self.layer(nn.functional.one_hot(symbols, 5).float())[0])


def learn(cell, updates=150, delay=10):
    torch.manual_seed(1)
    size = hidden_size_for(lambda h: Echo(cell, h), 10_000)
    model, losses = Echo(cell, size), []
    print(f"{size} units, {count_parameters(model):,} weights")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(updates):
        symbols = torch.randint(4, (30, 32))  # (T, B)
        scores = model(symbols)[delay:]
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), symbols[:-delay].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


curves = {
    name: learn(cell) for name, cell in {"leaky": leaky, "LSTM": "lstm", "RNN": "rnn"}.items()
}

# %%
figure, axes = plt.subplots(figsize=(5.5, 2.8), layout="constrained")
for name, losses in curves.items():
    axes.plot(losses, label=name)
axes.axhline(1.386, color="grey", linestyle=":", label="guessing")
_ = axes.set(xlabel="update", ylabel="nats a symbol", ylim=(0, 1.6))
_ = axes.legend()

# %% [markdown]
# All three learn; here the plain RNN is the fastest and the LSTM the slowest. That is one problem, one seed and one
# learning rate, and no verdict on the cells: ten steps back is a short way, which needs no gate. Take sequences of
# 80 steps and a `delay` of 40, and look again. `unrolled compare` trains several seeds of each cell and says which
# differences are more than chance.
#
# ## Try it
#
# - Give the cell a second gate, or replace `1 - f` by a gate `i` of its own.
# - A vector with one learned weight for each unit is an argument after a `*`: `def leaky(x, u, h, *, slope=1.0)`.
# - Put the cell into a file and train it by command: `unrolled train lm book.txt --cell mycell.py:leaky`.
#
# More: [writing a cell](../docs/cells.md), [published cells with their equations](../docs/catalogue.md). Next: [your
# `nn.LSTM`, faster](06_faster.ipynb).
