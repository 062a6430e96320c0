# %% [markdown]
# # 2. Unrolled in time
#
# A network that reads T steps is, written out, a network of T layers with the same weights. To learn, the
# error goes back through all of them: *backpropagation through time* (BPTT). This notebook does it by hand,
# compares the result with what autograd says, and then cuts it short.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import unrolled

rng = np.random.default_rng(1)
T, H = 30, 5  # steps, units
x, target = rng.normal(size=(T, 2)), rng.normal(size=H)
W_x, W_h = rng.normal(size=(H, 2)) / 2, rng.normal(size=(H, H)) / 3

h = [np.zeros(H)]
for x_t in x:
    h.append(np.tanh(W_x @ x_t + W_h @ h[-1]))
loss = ((h[-1] - target) ** 2).sum() / 2
print(f"loss after the last step: {loss:.4f}")

# %% [markdown]
# ## Back, by hand
#
# The loss sees the last state only. Its gradient there is `h_T - target`. To go one step further back it is
# multiplied by the slope of tanh, which is `1 - h_t²`, and by `W_h` transposed:
#
#     delta_t     = dL/dh_t * (1 - h_t²)
#     dL/dh_{t-1} = W_h' delta_t
#     dL/dW_h     = sum over t of delta_t h_{t-1}'
#
# All steps share `W_h`, so every step adds its own part to the gradient. The parts are kept here to look at.

# %%
gradient, parts = h[-1] - target, []
for t in range(T, 0, -1):
    delta = gradient * (1 - h[t] ** 2)
    parts.append(np.outer(delta, h[t - 1]))
    gradient = W_h.T @ delta
by_hand = sum(parts)
print(by_hand.round(3))

# %% [markdown]
# ## Back, by autograd
#
# The same network as a layer, and one call of `backward`.

# %%
layer = unrolled.RNN(2, H, bias=False)
with torch.no_grad():
    layer.weight_ih_l0.copy_(torch.from_numpy(W_x))
    layer.weight_hh_l0.copy_(torch.from_numpy(W_h))
sequence, goal = torch.from_numpy(x).float()[:, None], torch.from_numpy(target).float()

output, _ = layer(sequence)
((output[-1, 0] - goal) ** 2).sum().div(2).backward()
difference = np.abs(layer.weight_hh_l0.grad.numpy() - by_hand).max()
print(f"greatest difference: {difference:.1e}")

# %% [markdown]
# ## How much each step adds
#
# `parts[k]` is what the step k steps before the loss has added. Its size falls with k; note the scale, in which a line down means a
# constant factor for each step.

# %%
sizes = [np.linalg.norm(part) for part in parts]
figure, axes = plt.subplots(figsize=(5.5, 2.6), layout="constrained")
axes.semilogy(sizes, "o-", markersize=3)
_ = axes.set(
    xlabel="steps before the loss", ylabel="size of its part", title="Parts of the gradient"
)
axes.grid(alpha=0.3)

# %% [markdown]
# ## Cut short
#
# A text of a million letters cannot be unrolled at once. *Truncated* BPTT reads it in pieces: the state goes on
# from piece to piece, the gradient does not. In `unrolled` a state comes out of a call and goes into the next
# one; `detach` is where the gradient stops.

# %%
for steps_back in (2, 5, 10, 20, 30):
    layer.zero_grad()
    state = None
    if steps_back < T:
        _, state = layer(sequence[:-steps_back])
        state = state.detach()
    output, _ = layer(sequence[-steps_back:], state)
    ((output[-1, 0] - goal) ** 2).sum().div(2).backward()
    missing = np.linalg.norm(layer.weight_hh_l0.grad.numpy() - by_hand) / np.linalg.norm(by_hand)
    print(f"{steps_back:2} steps back: {missing:8.2%} of the gradient is missing")

# %% [markdown]
# The output does not depend on the cut, because the state is handed over. What is lost is what the network could
# have learned from further back.
#
# The commands call the two lengths `--k1` and `--k2`: an update every k1 steps, whose gradient goes k2 steps back
# ([language models](../docs/language-model.md)).
#
# ## Try it
#
# - Multiply `W_h` by 3 before the forward pass. What do the parts of the gradient do now?
# - Add a loss at every step instead of the last one. Which line of the loop changes?
#
# Next: [the vanishing gradient, measured](03_vanishing_gradient.ipynb).
