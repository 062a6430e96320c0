# %% [markdown]
# # 8. A tag for every word, with a CRF
#
# A tagger reads a sentence and gives each word a tag: noun, verb, name of a person. Usually a word decides its tag,
# but not always, and tags depend on each other: the second word of a name follows the first. A *conditional random
# field* (CRF) scores whole sequences of tags. Here is what it adds.
#
# The sentences are made up: people and places of one or two words, among names that are both. Your own data would
# be a CoNLL file with a word and its tag in each line, in the same format as below.

# %%
import random
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import unrolled
from unrolled.data import Source
from unrolled.tasks import prepare
from unrolled.tasks.tag import DataOptions, ModelOptions, PredictOptions, TagTask, TrainingOptions

draw = random.Random(0)
FIRST, BOTH = ["Ana", "Rui", "Eva", "Noa"], ["Lima", "Paris", "Lincoln", "Santiago"]
PLACES = ["Porto", "Cairo", "Quito", "Oslo"]


def sentence():
    person = draw.choice([[draw.choice(FIRST)], [draw.choice(FIRST), draw.choice(BOTH)]])
    place = draw.choice([[draw.choice(PLACES)], [draw.choice(BOTH)], ["San", draw.choice(PLACES)]])
    words = [(word, ("B-" if n == 0 else "I-") + "PER") for n, word in enumerate(person)]
    words += [(draw.choice(["visits", "leaves", "sees"]), "O")]
    words += [(word, ("B-" if n == 0 else "I-") + "LOC") for n, word in enumerate(place)]
    return [*words, (draw.choice(["today", "again"]), "O")]


folder = Path(tempfile.mkdtemp())
sentences = [sentence() for _ in range(200)]
file = folder / "names.conll"
file.write_text("\n".join("".join(f"{w} {t}\n" for w, t in each) for each in sentences))
print(file.read_text()[:64])

# %% [markdown]
# `B-` begins an entity, `I-` goes on with it, `O` is outside: the format is called IOB2. `Lima` is a person after
# `Ana`, and a place after `visits`.
#
# ## Training
#
# `prepare` does what the command `unrolled train tag names.conll` does: it reads the file, holds some sentences out,
# and makes the model and a run's folder. With nothing chosen the tagger reads from both ends and has a CRF. A tenth
# of the sentences is measured on at the end.

# %%
prepared = prepare(
    TagTask,
    DataOptions(file=str(file)),
    folder / "run",
    model=ModelOptions(cell="lstm", hidden_size=16, embedding_size=16, letter_size=8, affix_size=8),
    training=TrainingOptions(epochs=5, batch_size=16, learning_rate=0.03),
)
prepared.trainer.fit()
results = prepared.finish()
print(
    {name: round(value, 3) for name, value in results.metrics.items() if name in ("accuracy", "f1")}
)
for name, figures in results.baselines.items():
    print(f"{name}: accuracy {figures['accuracy']:.3f}")

# %% [markdown]
# The baselines say what these figures are worth: a tagger that gives each word its most frequent tag is often right
# too, but not about `Lima`.
#
# ## Predictions
#
# A sentence is a line with blanks between its words. Each tag comes with its probability, summed over all tags that
# the other words may have.

# %%
run = unrolled.load(folder / "run")
for text in ("Ana Lima visits Lima today", "Eva leaves San Cairo again"):
    (prediction,) = run.task.predict(run.model, Source.text(text), PredictOptions())
    print(run.task.to_text(prediction))
    print({key: value for key, value in prediction.items() if key not in ("words", "tags")})

# %% [markdown]
# ## What the CRF has learned
#
# Besides the scores of each word, the model has a number for each pair of neighbouring tags: how much it counts that
# the one follows the other. Rows are the tag before, columns the tag after.

# %%
tags = list(run.task.tags)
transitions = run.model.transitions.detach().numpy()
figure, axes = plt.subplots(figsize=(4.4, 3.2), layout="constrained")
limit = abs(transitions).max()
image = axes.imshow(transitions, cmap="RdBu", vmin=-limit, vmax=limit)
axes.set_xticks(range(len(tags)), tags, rotation=45)
axes.set_yticks(range(len(tags) + 1), [*tags, "begin"])
_ = figure.colorbar(image)

# %% [markdown]
# `I-LOC` after `B-LOC` counts for it, `I-LOC` after `B-PER` against it. Nobody has told the model; it follows from
# 160 sentences.
#
# ## By hand
#
# The probability of a sequence of tags y is exp(score(y)) / Z, where Z is the sum of exp(score) over all sequences.
# With two words there are few enough to write them all down, so we can check that the best path is the
# best.

# %%
scores = torch.tensor([[0.5, 0.0, 0.2], [0.1, 0.4, 0.5]])  # two words, three tags
follow = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [0.0, -2.0, 0.0]])  # from row to column
total = {
    (a, b): (scores[0, a] + follow[a, b] + scores[1, b]).item() for a in range(3) for b in range(3)
}
z = sum(torch.tensor(each).exp().item() for each in total.values())
best = max(total, key=total.get)
print(f"best path {best}, probability {torch.tensor(total[best]).exp().item() / z:.2f}")
print("each word by itself:", tuple(scores.argmax(1).tolist()))

# %% [markdown]
# ## Try it
#
# - Train with `ModelOptions(crf=False)`. On which sentences does it differ?
# - Lower-case all words in the file. What is lost?
# - Real data: UD treebanks in CoNLL-U (`--column upos`), LeNER-Br for entities.
#
# More: [tags](../docs/tag.md). Next: [the class of a series](09_series.ipynb).
