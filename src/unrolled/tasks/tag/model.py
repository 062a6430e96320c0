r"""The tagger: at every word of a sentence, scores for its tag.

The network unrolled over "o gato dorme", read from both ends:

    tag           DET       NOUN      VERB
                   ^         ^         ^
    scores       linear    linear    linear          V scores each
                   ^         ^         ^
                [layer]<--[layer]<--[layer]          from the last word on
                [layer]-->[layer]-->[layer]          from the first word on
                   ^         ^         ^
    features    word, letters, affixes of each word
                   ^         ^         ^
    word           o        gato      dorme

and what is known of a word, whether it was seen in training or not:

    embedding of "gato", lower case            [letters]-->[letters]-->[letters]-->[letters]-->
    (that of <unk> if it is new)               [letters]<--[letters]<--[letters]<--[letters]
              \                                     ^           ^           ^           ^
               features                            g           a           t           o
              /
    sum of the embeddings of its beginnings (g, ga, gat), its ends (o, to, ato) and its shape (x)

With a CRF (networks/crf.py) a tag also counts for what stands before it.

With delay k it reads from the first word on alone and tags a word after it has read k more:

    tag                      DET       NOUN      VERB
                              ^         ^         ^
                [layer]-->[layer]-->[layer]-->[layer]          k = 1
                   ^         ^         ^         ^
    word           o        gato      dorme     blank
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from unrolled.data.delay import append_blanks
from unrolled.data.words import UNKNOWN
from unrolled.errors import ShapeError
from unrolled.layers import GRU, check_sizes
from unrolled.networks.crf import log_marginals
from unrolled.networks.embedding import TokenEmbedding
from unrolled.networks.sequence_layers import make_layer
from unrolled.tasks.tag.options import ModelOptions

__all__ = ["Sentences", "Tagger"]


class Sentences(NamedTuple):
    """A batch of B sentences of at most T words, N of them different.

    Args:
        words: (B, T) int64: the number of each word in a vocabulary.
        lengths: (B,) int64: words in each sentence.
        spellings: (B, T) int64: where each word stands in `letters`, in 0 ... N - 1.
        letters: (N, S) int64: the letters of the different words.
        letter_lengths: (N,) int64: letters in each of them.
        affixes: (N, A) int64: beginnings, ends and shape of each; 0 where there is none.
    """

    words: Tensor
    lengths: Tensor
    spellings: Tensor
    letters: Tensor
    letter_lengths: Tensor
    affixes: Tensor


class Tagger(nn.Module):
    """Scores of the tags of every word: word and letters, a sequence layer, linear scores.

        x_t = [embedding(word_t), letters forwards, letters backwards, sum of affixes]
        h_t = [layer(x_0 ... x_t), layer(x_{T-1} ... x_t)], or layer(x_0 ... x_{t+k}) with delay k
        scores_t = W h_t + b,    p(tag_t = v) = softmax(scores_t)_v, or by the CRF's transitions

    The letters of a word are read by a GRU from both ends, whatever `cell` is; each different word
    of a batch once.

    Args:
        options: What it is made of.
        vocabulary_size: How many words there are, the unknown one included.
        alphabet_size: How many letters there are, the unknown one included.
        num_affixes: How many beginnings, ends and shapes there are, the unknown one included.
        num_classes: V, how many tags there are.
        vectors_width: Numbers of each vector that the embedding begins with; None without.
        crf: Whether tags are scored in sequence.

    Raises:
        OptionError: A size below 1.

    Attributes:
        layer: The sequence layer over the words, batch first.
        transitions: What a tag counts for the next one, (V + 1, V); row V is the begin. None where
            each is scored by itself.

    Source:
        Ling et al. (2015), Finding function in form: the letters. Lample et al. (2016): with the
        words. Graves & Schmidhuber (2005): both directions, and the delay.

    Example:
        >>> from torch import tensor
        >>> sizes = {"vocabulary_size": 9, "alphabet_size": 5, "num_affixes": 4}
        >>> model = Tagger(ModelOptions(), **sizes, num_classes=3, crf=False)
        >>> words, spellings = tensor([[7, 7]]), tensor([[0, 0]])
        >>> letters, affixes = tensor([[1, 2, 3, 4]]), tensor([[1, 0, 3]])
        >>> batch = Sentences(words, tensor([2]), spellings, letters, tensor([4]), affixes)
        >>> scores, transitions = model(batch)
        >>> scores.shape
        torch.Size([1, 2, 3])
    """

    def __init__(
        self,
        options: ModelOptions,
        *,
        vocabulary_size: int,
        alphabet_size: int,
        num_affixes: int,
        num_classes: int,
        crf: bool,
        vectors_width: int | None = None,
    ) -> None:
        super().__init__()
        sizes = {"vocabulary_size": vocabulary_size, "alphabet_size": alphabet_size}
        check_sizes("Tagger", {**sizes, "num_affixes": num_affixes, "num_classes": num_classes})
        self.options = options
        self.embedding = TokenEmbedding(options, vocabulary_size, vectors_width)
        size = options.letter_size
        features = self.embedding.output_size + 2 * size + options.affix_size
        if size:
            self.letter_embedding = nn.Embedding(alphabet_size, size)
            self.letter_layer = GRU(size, size, batch_first=True, bidirectional=True)
        self.affixes = None
        if options.affix_size:
            self.affixes = nn.EmbeddingBag(
                num_affixes, options.affix_size, mode="sum", padding_idx=0
            )
        if options.delay:  # with a delay of 0 it would never be read
            self.blank = nn.Parameter(torch.zeros(features))
        self.layer = make_layer(options, features, bidirectional=options.delay is None)
        self.dropout = nn.Dropout(options.dropout)
        self.scores = nn.Linear(cast(int, self.layer.output_size), num_classes)
        self.transitions = None
        if crf:
            self.transitions = nn.Parameter(torch.zeros(num_classes + 1, num_classes))

    def forward(self, sentences: Sentences) -> tuple[Tensor, Tensor | None]:
        """Score the tags of each word.

        Returns:
            The scores (unnormalised log probabilities), (B, T, V), which mean nothing beyond a
            sentence's length, and the transitions.

        Raises:
            ShapeError: Words that are not (B, T) int64.
        """
        delay = self.options.delay or 0
        h, _ = self.layer(self.inputs(sentences), lengths=sentences.lengths + delay)
        scores: Tensor = self.scores(self.dropout(h[:, delay:]))
        return scores, self.transitions

    def log_probabilities(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """Return how likely each tag is by itself, (B, T, V), from scores of `forward`.

        With a CRF: summed over the tags of all other words.
        """
        if self.transitions is None:
            return scores.log_softmax(2)
        return log_marginals(scores, lengths, self.transitions)

    def streamed(self) -> tuple[nn.Module, str]:
        """Return what scores words as they come, for `unrolled.stream`, and what it reads.

        That is `inputs`, word by word, (B, T, F), with k blanks at the end; a word's scores come k
        words later.
        """
        return TagsOfWords(self), f"B T {self.layer.input_size}"

    def inputs(self, sentences: Sentences) -> Tensor:
        """Return what the layer reads, (B, T + k, F): with delay k, k blanks after each sentence.

        Raises:
            ShapeError: Words that are not (B, T) int64.
        """
        words = sentences.words
        if words.dtype != torch.int64 or words.dim() != 2:
            got = f"{tuple(words.shape)} {words.dtype}"
            raise ShapeError(f"Tagger: words must be (B, T) torch.int64, got {got}")
        x: Tensor = self.dropout(self.features(sentences))
        if not self.options.delay:
            return x
        num_steps = words.shape[1] + self.options.delay
        return append_blanks(x, sentences.lengths, num_steps, self.blank)

    def features(self, sentences: Sentences) -> Tensor:
        """Return what is known of each word, (B, T, F)."""
        words = sentences.words
        if self.training and self.options.word_dropout:
            forgotten = torch.rand(words.shape, device=words.device) < self.options.word_dropout
            words = words.masked_fill(forgotten, UNKNOWN)
        features: list[Tensor] = [self.embedding(words)]
        if self.options.letter_size:
            letters = self.letter_embedding(sentences.letters)  # (N, S, C)
            _, ends = self.letter_layer(letters, lengths=sentences.letter_lengths)  # (2, N, C)
            spelled = torch.cat([ends[0], ends[1]], dim=1)  # (N, 2 C)
            # an index would add up its gradient in the order in which threads come
            features.append(embedding(sentences.spellings, spelled))
        if self.affixes is not None:
            features.append(embedding(sentences.spellings, self.affixes(sentences.affixes)))
        return torch.cat(features, dim=2)


class TagsOfWords(nn.Module):
    """The scores of a tagger from the features of words, as a module that can be streamed."""

    def __init__(self, tagger: Tagger) -> None:
        super().__init__()
        self.tagger = tagger
        self.train(tagger.training)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores, (B, T - k, V), of features and blanks, (B, T, F)."""
        tagger = self.tagger
        h: Tensor = tagger.layer(x)[0][:, tagger.options.delay or 0 :]
        scores: Tensor = tagger.scores(tagger.dropout(h))
        return scores
