"""flair: a language model of characters, and the LSTM of its tagger. Random weights."""

import flair
import torch
from flair.data import Dictionary
from flair.models import LanguageModel
from torch import nn

REQUIRES = ["flair==0.15.1"]
# Its sdist has neither their corpora nor its characters; those would come from a network.
TESTS = ["tests/test_language_model.py", "tests/models/test_sequence_tagger.py", "--runintegration"]
flair.device = torch.device("cpu")


class Tagger(nn.Module):
    """Characters to vectors by the language model, words to tags by a tagger's LSTM."""

    def __init__(self):
        super().__init__()
        characters = Dictionary()
        for number in range(97, 123):
            characters.add_item(chr(number))
        self.characters = LanguageModel(characters, True, 1024, 1, embedding_size=100)
        self.words = nn.LSTM(1024, 256, batch_first=True, bidirectional=True)
        self.tags = nn.Linear(512, 20)


def make():
    """Return both: 1024 units, as `news-forward-fast`, and 256 in both directions."""
    return Tagger()


def call(model, rows=1):
    """Tag sentences of 25 words, 150 characters."""
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(1, 26, (150, rows), generator=generator)
    hidden = model.characters.init_hidden(rows)
    _, output, _ = model.characters(text, hidden)
    words, _ = model.words(output[::6].transpose(0, 1))
    return model.tags(words)


def loss(model):
    """Return a loss of four sentences."""
    return nn.functional.cross_entropy(call(model, rows=4).flatten(0, 1), torch.zeros(100).long())
