# %% [markdown]
# # 11. Encoder, decoder and attention
#
# Translation reads a sentence of one length and writes one of another, in another order. One network reads (the
# *encoder*), a second one writes (the *decoder*), and *attention* lets the second look back: before each word it
# weighs all words that were read and takes their weighted mean.
#
# The two languages here are made up. The second puts the adjective behind the noun and the verb at the end, so that
# words have to move. Your own data would be a file with a pair in each line, a tab between source and target.

# %%
import random
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import unrolled
from unrolled.tasks import prepare
from unrolled.tasks.translate import (
    DataOptions,
    ModelOptions,
    PredictOptions,
    TrainingOptions,
    TranslateTask,
)

draw = random.Random(0)
NOUNS = dict(cat="mo", dog="ka", bird="ti", fish="su")
ADJECTIVES = dict(red="ral", small="pim", old="gon", blue="lev")
VERBS = dict(sees="edo", likes="avi", follows="uno")


def pair():
    subject, thing = draw.sample(list(NOUNS), 2)
    verb = draw.choice(list(VERBS))
    first, second = (draw.choice([[], [draw.choice(list(ADJECTIVES))]]) for _ in range(2))
    source = ["the", *first, subject, verb, "the", *second, thing]
    target = [NOUNS[subject], *(ADJECTIVES[each] for each in first)]
    target += [NOUNS[thing], *(ADJECTIVES[each] for each in second), VERBS[verb]]
    return " ".join(source), " ".join(target)


pairs = sorted({pair() for _ in range(600)})
draw.shuffle(pairs)
folder = Path(tempfile.mkdtemp())
file = folder / "pairs.tsv"
file.write_text("".join(f"{source}\t{target}\n" for source, target in pairs))
print(len(pairs), "pairs, such as")
print(*pairs[:3], sep="\n")

# %% [markdown]
# ## Training
#
# As `unrolled train translate pairs.tsv --tokens word` does. A twentieth of the pairs is kept for the test; no source
# sentence is in two parts.

# %%
prepared = prepare(
    TranslateTask,
    DataOptions(file=str(file), tokens="word"),
    folder / "run",
    model=ModelOptions(hidden_size=32, embedding_size=16, dropout=0.1),
    training=TrainingOptions(updates=150, batch_size=32, learning_rate=0.02, select="last"),
)
prepared.trainer.fit()
results = prepared.finish()
print(f"wholly right on the test part: {results.metrics['exact_match']:.0%}")

# %% [markdown]
# ## Translations
#
# The decoder writes word by word and reads its own words back. The search keeps several beginnings and returns the
# sentence that is likeliest as a whole.

# %%
run = unrolled.load(folder / "run")
sentences = ["the small old cat sees the dog", "the red fish likes the blue bird"]
predictions = run.task.predictions(run.model, sentences, PredictOptions(beam=4))
for sentence, prediction in zip(sentences, predictions, strict=True):
    print(sentence, "->", prediction["translation"])

# %% [markdown]
# The first sentence has two adjectives for one noun, which no sentence of the training has. Whether the answer is
# right is for you to say: a network generalises from what it saw, and not by the rule that you had in mind.
#
# ## Where it looked
#
# Each row is a word that was written, each column a word that was read; dark is a large weight. The weights of a row
# have the sum 1. Look for the adjectives: they are written after their nouns, and the looks cross. The verb is written
# with hardly a look at anything: what the decoder needs for it has reached it through the states of the two networks.

# %%
prediction = predictions[1]
weights = np.array(prediction["attention"])
figure, axes = plt.subplots(figsize=(5, 3.4), layout="constrained")
axes.imshow(weights, cmap="Greys", vmin=0, vmax=1)
axes.set_xticks(range(weights.shape[1]), prediction["source_tokens"], rotation=45)
axes.set_yticks(range(weights.shape[0]), prediction["tokens"])
_ = axes.set(xlabel="read", ylabel="written")
print("sums of the rows:", weights.sum(1).round(3))

# %% [markdown]
# ## Without attention
#
# Then the decoder knows of the sentence only one vector, which the encoder hands over at the end. As many units, and
# a training as long:

# %%
without = prepare(
    TranslateTask,
    DataOptions(file=str(file), tokens="word"),
    folder / "without",
    model=ModelOptions(hidden_size=32, embedding_size=16, dropout=0.1, attention="none"),
    training=TrainingOptions(updates=150, batch_size=32, learning_rate=0.02, select="last"),
)
without.trainer.fit()
print(f"wholly right without attention: {without.finish().metrics['exact_match']:.0%}")

# %% [markdown]
# ## Try it
#
# - Make longer sentences, with "and". Which of the two models suffers more?
# - `PredictOptions(beam=4, n_best=3)` returns the three best translations, with their scores.
# - Real pairs: `unrolled train translate pairs.tsv`, with pieces of words as tokens.
#
# More: [translation](../docs/translate.md). Next: [out of Python](12_deploy.ipynb).
