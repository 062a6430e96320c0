# %% [markdown]
# # 1. A recurrent network by hand
#
# A recurrent network reads a sequence one step at a time. At every step it computes a new state from two
# things: the input of that step, and its own state after the step before.
#
#     h_t = tanh(W_x x_t + W_h h_{t-1} + b)
#
# Here that line is written in numpy, then given to `unrolled`, and both compute the same numbers. After that
# the network learns its first word.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import unrolled

letters = sorted(set("hello"))
numbers = {letter: number for number, letter in enumerate(letters)}
x = np.eye(4)[[numbers[letter] for letter in "hell"]]
print(letters)
print(x)

# %% [markdown]
# Each row of `x` is one letter, written as a 1 at the letter's own place: a *one-hot* vector. The whole
# word has the shape (T, I): T = 4 steps of I = 4 numbers.
#
# ## Step by step
#
# The network below has H = 3 units. Its weights are drawn by chance: it has learned nothing yet.

# %%
rng = np.random.default_rng(0)
W_x, W_h, b = rng.normal(size=(3, 4)), rng.normal(size=(3, 3)), np.zeros(3)


def step(x_t, h):
    return np.tanh(W_x @ x_t + W_h @ h + b)


h, states = np.zeros(3), []
for letter, x_t in zip("hell", x, strict=True):
    h = step(x_t, h)
    states.append(h)
    print(letter, h.round(3))

# %% [markdown]
# Look at the last two rows. The input is the same letter, `l`, and the weights are the same, yet the states
# differ, because the state before them differed. This is all that the memory of a recurrent network is.
#
# ## The same with a layer
#
# `unrolled.RNN` computes this equation for whole batches, in compiled code. It has the weights of
# `torch.nn.RNN` under the same names: `weight_ih_l0` is `W_x`, `weight_hh_l0` is `W_h`, and `b` is the sum
# of two biases. Its input has the shape (T, B, I), and B is 1 here: one word.

# %%
layer = unrolled.RNN(input_size=4, hidden_size=3)
with torch.no_grad():
    layer.weight_ih_l0.copy_(torch.from_numpy(W_x))
    layer.weight_hh_l0.copy_(torch.from_numpy(W_h))
    layer.bias_ih_l0.zero_()
    layer.bias_hh_l0.zero_()

    output, last = layer(torch.from_numpy(x).float()[:, None])
difference = np.abs(output[:, 0].numpy() - np.array(states)).max()
print(f"greatest difference: {difference:.1e}")

# %% [markdown]
# The difference is the rounding of float32: numpy computed in float64.
#
# ## Four letters to learn
#
# The network is to say, at each letter of "hell", which letter comes next: "ello". A second matrix makes
# four scores of the state, one for each letter, and `cross_entropy` measures how unlikely the right letter
# was. After an `l` comes once an `l` and once an `o`, so the input alone does not decide: the network has
# to remember.

# %%
torch.manual_seed(0)
layer, scores = unrolled.RNN(4, 8), torch.nn.Linear(8, 4)
optimizer = torch.optim.Adam([*layer.parameters(), *scores.parameters()], lr=0.05)
word, targets = torch.from_numpy(x).float(), torch.tensor([numbers[letter] for letter in "ello"])
for update in range(101):
    output, _ = layer(word[:, None])
    loss = torch.nn.functional.cross_entropy(scores(output[:, 0]), targets)
    if update % 25 == 0:
        said = "".join(letters[number] for number in scores(output[:, 0]).argmax(1))
        print(f"update {update:3}: loss {loss.item():.3f} nats a letter, says {said}")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %% [markdown]
# The figure shows the state of the trained network, a row for each unit and a column for each letter. The
# two columns of `l` differ: that is where the network keeps which of them it is reading.

# %%
figure, axes = plt.subplots(figsize=(4.5, 2.6), layout="constrained")
image = axes.imshow(output[:, 0].detach().numpy().T, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
axes.set_xticks(range(4), "hell")
_ = axes.set(xlabel="letter read", ylabel="unit", title="h after each letter")
_ = figure.colorbar(image)

# %% [markdown]
# ## Try it
#
# - Replace `unrolled.RNN` by `unrolled.LSTM` or `unrolled.GRU`. The call is the same.
# - Set `W_h` to zero in the first part. Which rows become equal?
# - Take a longer word with more letters that repeat. How many units does it need?
#
# Next: [how such a network learns through time](02_through_time.ipynb). The same word as a program:
# [examples/hello.py](../examples/hello.py). With your own text it is
# [one command](../docs/first-model.md).
