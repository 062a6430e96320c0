# %% [markdown]
# # 4. Gates and cell state of a trained language model
#
# A language model reads a text letter by letter and says which letter comes next. This one learns a small made-up
# language with quotation marks: an open quote has to be closed, and only outside of quotes somebody `says` something.
# The words are the same inside and outside. So the network has to remember whether a quote is open, and somewhere
# among its units there must be the memory of it. We look for it.
#
# A text of your own takes the place of `text` below: `text = Path("book.txt").read_text()`. It will take longer
# to learn.

# %%
import random

import matplotlib.pyplot as plt
import torch

import unrolled
from unrolled.data import CharVocabulary
from unrolled.inspection import area_under_curve, pattern_masks, rank_units, saturation
from unrolled.layers import map_state
from unrolled.networks import LayerOptions

draw = random.Random(0)


def sentence():
    outside, inside = (
        " ".join(draw.choices(["the", "cat", "and", "dog", "no"], k=draw.randint(2, 4)))
        for _ in range(2)
    )
    return f'{outside} says "{inside}" '


text = "".join(sentence() for _ in range(1000))
vocabulary = CharVocabulary.from_text(text)
print(text[:120])
print(f"{len(text):,} characters, {len(vocabulary)} of them different")

# %% [markdown]
# ## Training
#
# The model is an LSTM of 32 units between a one-hot input and a score for each character. It learns from 16 places
# of the text at once, in pieces of 40 characters, and the state goes on from piece to piece.

# %%
torch.manual_seed(0)
model = unrolled.LanguageModel(LayerOptions(hidden_size=32), vocabulary_size=len(vocabulary))
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
tokens = vocabulary.encode(text)
columns = tokens[: len(tokens) // 16 * 16].view(16, -1)
state = None
for update in range(1, 161):
    start = update * 40 % (columns.shape[1] - 41)
    piece = columns[:, start : start + 41]
    scores, state = model(piece[:, :-1], state)
    loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), piece[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    state = map_state(torch.Tensor.detach, state)
    if update % 40 == 0:
        print(f"update {update}: {loss.item():.3f} nats a character")

model.eval()
print("".join(unrolled.generate(model, vocabulary, 'the cat says "', length=60, seed=1)))

# %% [markdown]
# ## Every value by its name
#
# `unrolled.trace` runs the layer and returns everything that its equations name, at every step: the gates `i`,
# `f`, `o`, the candidate `g`, the cell state `c` and the output `h`. Here on a text that it has not seen.

# %%
unseen = "".join(sentence() for _ in range(60))
with torch.no_grad():
    features = model.features(vocabulary.encode(unseen)[None])
    (record,) = unrolled.trace(model.layer, features)
values = {name: value.reshape(len(unseen), 32) for name, value in record.values.items()}
print({name: tuple(value.shape) for name, value in values.items()})

# %% [markdown]
# ## Which unit knows?
#
# `rank_units` compares each unit with a mask: is the character inside quotes or not? The measure is the area under
# the curve (AUC), the probability that the unit is higher at a place inside than at a place outside. The best of
# many units looks better than it is on the text it was chosen by, so we choose on the first half and measure on
# the second.

# %%
mask, half = pattern_masks(unseen)["inside quotes"], len(unseen) // 2
ranking = rank_units(values["c"][:half], mask[:half])
best = [int(unit) for unit in ranking.units[:3]]
for unit in best:
    auc = float(area_under_curve(values["c"][half:, [unit]], mask[half:])[0])
    print(f"unit {unit:2}: AUC {max(auc, 1 - auc):.3f}" + (" (low inside)" if auc < 0.5 else ""))

# %% [markdown]
# Now the text itself. Red is negative, blue positive; the black bars mark what is inside quotes.

# %%
shown = slice(0, 90)
figure, axes = plt.subplots(figsize=(11, 2.2), layout="constrained")
rows = values["c"][shown, best].numpy().T
axes.imshow(rows, cmap="RdBu", vmin=-2, vmax=2, aspect="auto")
axes.plot(torch.where(torch.as_tensor(mask[shown]), -0.7, torch.nan), "k", linewidth=4)
axes.set_xticks(range(90), unseen[shown], fontsize=7)
axes.set_yticks(range(3), [f"c of unit {unit}" for unit in best])
_ = axes.set_ylim(2.5, -1)

# %% [markdown]
# ## What the gates do
#
# `saturation` says at which part of the steps a gate of a unit is shut (below 0.1) or open (above 0.9). A unit that
# carries the quote has to keep its value through the words, so its forget gate should be open nearly always.

# %%
shut, opened = saturation(record)["f"]
for unit in best:
    print(
        f"unit {unit:2}: forget gate open at {opened[unit]:.0%} of the steps, shut at {shut[unit]:.0%}"
    )

# %% [markdown]
# ## Take it away
#
# Looking shows that a unit goes along with the quotes; only taking it away shows that it is used. `intervene` holds
# values while the network runs. With the best unit held at zero the network loses count of its quotes, and the same
# text becomes less likely.

# %%
ids = vocabulary.encode(unseen)[None]


def loss_of():
    with torch.no_grad():
        scores, _ = model(ids[:, :-1])
    return torch.nn.functional.cross_entropy(scores[0], ids[0, 1:]).item()


print(f"as it is: {loss_of():.3f} nats a character")
for unit in best:
    with unrolled.intervene(model, {"c": unrolled.Hold(0.0, units=unit)}):
        print(f"without unit {unit}: {loss_of():.3f}")

# %% [markdown]
# ## Try it
#
# - Hold the best unit at the value that it has outside, and let `generate` go on from `the cat says "no`.
# - `pattern_masks` has more masks: print its names. Which unit follows the beginnings of words?
# - Train a GRU: `LayerOptions(cell="gru", hidden_size=32)`. It has no `c`; look at `h`.
#
# More: [looking inside](../docs/inspect.md), [trying things](../docs/intervene.md). Next: [a cell of your
# own](05_own_cell.ipynb).
