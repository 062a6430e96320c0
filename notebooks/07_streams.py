# %% [markdown]
# # 7. One step at a time: streams
#
# A sensor, a microphone or a chat does not hand over a finished sequence: it sends the next step. A recurrent network
# needs only its state to go on, so the next step costs the same, however much came before. A *stream* is a layer
# in the middle of its sequences.

# %%
import statistics
import time

import matplotlib.pyplot as plt
import torch
from torch import nn

import unrolled

torch.manual_seed(0)
layer = unrolled.GRU(input_size=4, hidden_size=32)
x = torch.randn(200, 1, 4)  # 200 steps of one sequence
with torch.no_grad():
    whole, _ = layer(x)

# %% [markdown]
# ## Pieces of any size
#
# `step` reads one step, `push` several. However the sequence is cut, the outputs are those of the whole; where the
# layer runs on a kernel, to the last bit.

# %%
stream = layer.stream()
pieces = [stream.push(x[:70]), *(stream.step(x_t)[None] for x_t in x[70:130]), stream.push(x[130:])]
print("equal to the whole:", torch.equal(torch.cat(pieces), whole))

# %% [markdown]
# ## What a step costs
#
# Without a stream, each new step means reading everything again. With it, only the step. Microseconds, of the machine
# on which this notebook was run last.


# %%
def microseconds(call, repeats=5):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1e6 * (time.perf_counter() - start))
    return statistics.median(times)


lengths = [1, 50, 100, 200, 400, 800]
long = torch.randn(800, 1, 4)
with torch.no_grad():
    again = [microseconds(lambda n=n: layer(long[:n])) for n in lengths]
streamed = []
for n in lengths:
    stream.reset()
    stream.push(long[:n])
    streamed.append(microseconds(lambda n=n: stream.step(long[n - 1])))

# %%
figure, axes = plt.subplots(figsize=(5.5, 2.8), layout="constrained")
axes.plot(lengths, again, "o-", label="read all again")
axes.plot(lengths, streamed, "o-", label="stream.step")
_ = axes.set(xlabel="steps so far", ylabel="microseconds", yscale="log")
_ = axes.legend()

# %% [markdown]
# ## Many streams that come and go
#
# A server has a stream for each visitor. A pool steps those together that have something new, and each gets the
# numbers that it would get alone.

# %%
pool = layer.streams(capacity=100)
anna, bruno, clara = pool.join(), pool.join(), pool.join()
pool.step(torch.randn(2, 4), [anna, clara])
pool.push(x[:20], bruno)  # twenty steps of one of them
pool.leave(anna)
y = pool.step(torch.cat([x[20], torch.randn(1, 4)]), [bruno, clara])
print("bruno's output is that of the whole:", torch.equal(y[0], whole[20, 0]))
print("who is there:", pool.rows)

# %% [markdown]
# ## A whole model
#
# A model is more than its recurrent layer. `unrolled.stream` follows a model's `forward`, refuses what would look
# into the future, and says how late the output is.


# %%
class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.smooth = nn.Conv1d(4, 8, kernel_size=5, stride=2)
        self.memory = unrolled.GRU(8, 16, batch_first=True)
        self.scores = nn.Linear(16, 3)

    def forward(self, x):  # (B, 4, T)
        h, _ = self.memory(torch.relu(self.smooth(x)).transpose(1, 2))
        return self.scores(h)


model = Detector().eval()
stream = unrolled.stream(model, reads="B 4 T")
print(f"an output every {stream.rate} steps, {stream.delay} steps late")
signal = torch.randn(1, 4, 100)
for chunk in signal.split(15, 2):
    said = stream.push(chunk)
    print(f"{chunk.shape[2]:2} steps in, {0 if said is None else said.shape[1]} outputs")

# %% [markdown]
# ## Try it
#
# - Build the model with `bidirectional=True`. What does `unrolled.stream` say, and why must it?
# - Save `stream.state`, push ten steps, put the state back and push them again.
# - Write text with a model while somebody types: `unrolled.generate` reads its prompt and goes on as a stream does.
#
# More: [streams](../docs/streams.md), [words spotted while they are said](../examples/keyword_spotting.py). Next:
# [a tag for every word](08_tags.ipynb).
