r"""The tagger: at every word of a sentence, scores for its tag.

The network unrolled over "o gato dorme", read from both ends:

    tag           DET       NOUN      VERB
                   ^         ^         ^
    scores       linear    linear    linear          V scores each
                   ^         ^         ^
                [layer]<--[layer]<--[layer]          from the last word on
                [layer]-->[layer]-->[layer]          from the first word on
                   ^         ^         ^
    features    word and letters of each word
                   ^         ^         ^
    word           o        gato      dorme

and what is known of a word, whether it was seen in training or not:

    embedding of "gato", lower case            [letters]-->[letters]-->[letters]-->[letters]-->
    (that of <unk> if it is new)               [letters]<--[letters]<--[letters]<--[letters]
              \                                     ^           ^           ^           ^
               features                            g           a           t           o

With delay k it reads from the first word on alone and tags a word after it has read k more:

    tag                      DET       NOUN      VERB
                              ^         ^         ^
                [layer]-->[layer]-->[layer]-->[layer]          k = 1
                   ^         ^         ^         ^
    word           o        gato      dorme     blank
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from unrolled.data.delay import append_blanks
from unrolled.data.words import UNKNOWN
from unrolled.errors import OptionError, ShapeError
from unrolled.layers import GRU
from unrolled.layers.options import check_dropout, check_sizes
from unrolled.networks.sequence_layers import check_cell, make_layer

__all__ = ["Sentences", "Tagger", "TaggerConfig"]


@dataclass(frozen=True)
class Sentences:
    """A batch of B sentences of at most T words, N of them different.

    Args:
        words: (B, T) int64: the number of each word in a vocabulary.
        lengths: (B,) int64: words in each sentence.
        spellings: (B, T) int64: where each word stands in `letters`, in 0 ... N - 1.
        letters: (N, S) int64: the letters of the different words.
        letter_lengths: (N,) int64: letters in each of them.
    """

    words: Tensor
    lengths: Tensor
    spellings: Tensor
    letters: Tensor
    letter_lengths: Tensor


@dataclass(frozen=True)
class TaggerConfig:
    """What it takes to build a `Tagger`, all of it plain values.

    Args:
        vocabulary_size: How many words there are, the unknown one included.
        alphabet_size: How many letters there are, the unknown one included.
        num_classes: V, how many tags there are.
        cell: The name of the layer, one of `models.sequence_layers.CELLS`.
        hidden_size: H, units of every layer and direction.
        num_layers: Layers one above the other.
        delay: k, words that are read beyond a word before it is tagged, from the first on alone;
            None reads the sentence from both ends.
        embedding_size: Features that are learned for each word.
        letter_size: Features that each direction over a word's letters gives; 0 reads no letters.
        word_dropout: Probability that a word is taken for the unknown one in training.
        dropout: Probability that a feature of a word, a value between two layers, or one before the
            scores is zeroed in training.
        kernel_size: Taps of a convolution, for tcn and conv only.

    Raises:
        OptionError: A size below 1, an unknown cell, a dropout that is no probability, a delay
            below 0, a kernel size for a cell without a kernel.
    """

    vocabulary_size: int
    alphabet_size: int
    num_classes: int
    cell: str = "lstm"
    hidden_size: int = 128
    num_layers: int = 1
    delay: int | None = None
    embedding_size: int = 100
    letter_size: int = 50
    word_dropout: float = 0.1
    dropout: float = 0.33
    kernel_size: int | None = None

    def __post_init__(self) -> None:
        where = "TaggerConfig"
        names = ("vocabulary_size", "alphabet_size", "num_classes", "hidden_size", "num_layers")
        sizes = {name: getattr(self, name) for name in (*names, "embedding_size")}
        if self.kernel_size is not None:
            sizes["kernel_size"] = self.kernel_size
        check_sizes(where, sizes)
        if self.letter_size < 0:
            raise OptionError(f"{where}: letter_size must be at least 0, got {self.letter_size}")
        if self.delay is not None and self.delay < 0:
            raise OptionError(f"{where}: delay must be at least 0 words, got {self.delay}")
        check_dropout(where, self.dropout)
        if not 0 <= self.word_dropout <= 1:
            got = f"word_dropout must be a probability in [0, 1], got {self.word_dropout}"
            raise OptionError(f"{where}: {got}")
        check_cell(self.cell, self.kernel_size)


class Tagger(nn.Module):
    """Scores of the tags of every word: word and letters, a sequence layer, linear scores.

        x_t = [embedding(word_t), letters forwards, letters backwards]
        h_t = [layer(x_0 ... x_t), layer(x_{T-1} ... x_t)], or layer(x_0 ... x_{t+k}) with delay k
        scores_t = W h_t + b,    p(tag_t = v) = softmax(scores_t)_v

    The letters of a word are read by a GRU from both ends, whatever `cell` is; each different word
    of a batch once.

    Args:
        config: The sizes and the cell.

    Attributes:
        layer: The sequence layer over the words, batch first.

    Source:
        Ling et al. (2015), Finding function in form: the letters. Lample et al. (2016): with the
        words. Graves & Schmidhuber (2005): both directions, and the delay.

    Example:
        >>> from torch import tensor
        >>> model = Tagger(TaggerConfig(vocabulary_size=9, alphabet_size=5, num_classes=3))
        >>> twice_the_same = tensor([[0, 0]])
        >>> letters, four = tensor([[1, 2, 3, 4]]), tensor([4])
        >>> model(Sentences(tensor([[7, 7]]), tensor([2]), twice_the_same, letters, four)).shape
        torch.Size([1, 2, 3])
    """

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary_size, config.embedding_size)
        features = config.embedding_size + 2 * config.letter_size
        if config.letter_size:
            self.letter_embedding = nn.Embedding(config.alphabet_size, config.letter_size)
            self.letter_layer = GRU(
                config.letter_size, config.letter_size, batch_first=True, bidirectional=True
            )
        if config.delay:  # with a delay of 0 it would never be read
            self.blank = nn.Parameter(torch.zeros(features))
        self.layer = make_layer(
            config.cell,
            features,
            config.hidden_size,
            config.num_layers,
            config.dropout,
            config.kernel_size,
            bidirectional=config.delay is None,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.scores = nn.Linear(cast(int, self.layer.output_size), config.num_classes)

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, sentences: Sentences) -> Tensor:
        """Score the tags of each word.

        Returns:
            The scores (unnormalised log probabilities), (B, T, V). They mean nothing beyond a
            sentence's length.

        Raises:
            ShapeError: Words that are not (B, T) int64.
        """
        words, lengths = sentences.words, sentences.lengths
        if words.dtype != torch.int64 or words.dim() != 2:
            got = f"{tuple(words.shape)} {words.dtype}"
            raise ShapeError(f"Tagger: words must be (B, T) torch.int64, got {got}")
        delay = self.config.delay or 0
        x = self.dropout(self._features(sentences))  # (B, T, F)
        if delay:
            x = append_blanks(x, lengths, words.shape[1] + delay, self.blank)
        h, _ = self.layer(x, lengths=lengths + delay)
        scores: Tensor = self.scores(self.dropout(h[:, delay:]))
        return scores

    def _features(self, sentences: Sentences) -> Tensor:
        words = sentences.words
        if self.training and self.config.word_dropout:
            forgotten = torch.rand(words.shape, device=words.device) < self.config.word_dropout
            words = words.masked_fill(forgotten, UNKNOWN)
        embedded: Tensor = self.embedding(words)
        if not self.config.letter_size:
            return embedded
        letters = self.letter_embedding(sentences.letters)  # (N, S, C)
        _, ends = self.letter_layer(letters, lengths=sentences.letter_lengths)  # (2, N, C)
        spelled = torch.cat([ends[0], ends[1]], dim=1)  # (N, 2 C)
        return torch.cat([embedded, spelled[sentences.spellings]], dim=2)
