"""Tagging: a tag for every word of a sentence, from CoNLL files. Parts of speech, entities.

The words are those of the file: a sentence is not cut into words here, but for input that is
predicted from, one sentence a line, its words between blanks.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.data.batching import IGNORE, pad
from unrolled.data.content import flag_of, letters_of, strings_of
from unrolled.data.source import Source
from unrolled.data.words import WordVocabulary, as_read, text_version_of, unknown_note
from unrolled.errors import DataError, field
from unrolled.metrics import Metric
from unrolled.networks.crf import best_path, log_likelihood
from unrolled.networks.devices import moved
from unrolled.tasks.examples_task import ExamplesTask
from unrolled.tasks.page_network import PageNetwork
from unrolled.tasks.tag.conll import TaggedSentence
from unrolled.tasks.tag.exports import TaggerGraphs
from unrolled.tasks.tag.letters import Affixes, Alphabet, without_case
from unrolled.tasks.tag.model import Sentences, Tagger
from unrolled.tasks.tag.options import DataOptions, ModelOptions, PredictOptions, TrainingOptions
from unrolled.tasks.tag.page_network import page_network
from unrolled.tasks.tag.reader import read_others, read_parts, tags_of, unseen_tags, untagged
from unrolled.tasks.tag.scheme import iob2_transitions, may_follow
from unrolled.tasks.tag.spans import doubtful_spans, entities, has_spans, score_spans
from unrolled.tasks.tag.subject import TaggerSubject
from unrolled.tasks.task import OptionClasses, Splits, TaskOptions
from unrolled.tasks.vectors import fitted_width, width_content, width_of
from unrolled.training import share

__all__ = ["TagTask"]

_SENTENCES_AT_ONCE = 64
_OF_ENTITIES = ("f1", "precision", "recall")
_MOST_TAGS_OF_A_CRF = 100  # the search for the best path looks at their square in every step


class TagTask(ExamplesTask[TaggedSentence]):
    """A tag for every word of a sentence.

    Args:
        options: What was chosen.
        tags: Those of the training part.
        words: Those of the training part, in lower case and with 0 for every digit.
        alphabet: The letters of the training part.
        affixes: Beginnings, ends and shapes of its words.
        is_iob2: Whether the tags mark entities in IOB2, which predictions then keep to.
        vectors_width: Numbers of each vector that words begin with; None without vectors.
    """

    name = "tag"
    terms = "words"
    option_classes = OptionClasses(DataOptions, ModelOptions, TrainingOptions, PredictOptions)

    def __init__(
        self,
        options: TaskOptions,
        tags: Sequence[str],
        words: WordVocabulary,
        alphabet: Alphabet,
        affixes: Affixes,
        is_iob2: bool,
        vectors_width: int | None = None,
    ) -> None:
        super().__init__(options)
        self.tags = tuple(tags)
        self.words = words
        self.alphabet = alphabet
        self.affixes = affixes
        self.is_iob2 = is_iob2
        self.vectors_width = vectors_width
        self.has_entities = has_spans(tags)
        self._tag_ids = {tag: id for id, tag in enumerate(self.tags)}
        self._allowed = iob2_transitions(self.tags) if is_iob2 else None

    @property
    def metrics(self) -> Sequence[Metric]:
        """What the figures mean: F1 of entities ranks, where the tags mark any, else accuracy."""
        spans = [Metric(name, "higher", share=True) for name in _OF_ENTITIES]
        return [
            *(spans if self.has_entities else []),
            Metric("accuracy", "higher", share=True),
            Metric("accuracy_unseen_words", "higher", share=True),
            Metric("loss", "lower", "nats/word"),
            Metric("num_words", None),
            Metric("num_unseen_words", None),
        ]

    @classmethod
    def read(cls, options: TaskOptions) -> Splits[TaggedSentence]:
        """Return the sentences; equal ones of one file are in one part.

        Raises:
            DataError: A file cannot be read, a line is broken, or the training part has one tag.
            OptionError: There is no such column.
        """
        return read_parts(options.data, options.training.seed)

    @classmethod
    def fit(cls, options: TaskOptions, splits: Splits[TaggedSentence]) -> Self:
        """Return the task with the tags, words and letters of its training part."""
        training = splits.training
        words = WordVocabulary.from_sentences(
            [without_case(as_read(word)) for word in sentence.words] for sentence in training
        )
        held_out = Counter(without_case(as_read(word)) for s in splits.held_out for word in s.words)
        unknown = sum(count for word, count in held_out.items() if word not in words)
        hint = "more training data may know them"
        splits.notes.extend(unknown_note(unknown, held_out.total(), "held-out part", hint))
        alphabet = Alphabet.from_words(as_read(word) for s in training for word in s.words)
        affixes = Affixes.from_words(as_read(word) for s in training for word in s.words)
        tags = tags_of(training)
        splits.notes.extend(doubtful_spans(tags))
        is_iob2 = has_spans(tags) and {tag[0] for tag in tags} <= set("BIO")
        is_iob2 = is_iob2 and all(
            may_follow(*pair)
            for s in training
            for pair in zip(("O", *s.tags), s.tags, strict=False)
        )
        width = fitted_width(options)
        return cls(options, tags, words, alphabet, affixes, is_iob2, width)

    def to_dict(self) -> dict[str, Any]:
        """Return the tags, the words, their letters and affixes."""
        fitted = {
            "tags": list(self.tags),
            "letters": self.alphabet.letters,
            "affixes": list(self.affixes.names),
            "is_iob2": self.is_iob2,
            "text_version": self.alphabet.text_version,
        }
        return fitted | self.words.to_dict() | width_content(self.vectors_width)

    @classmethod
    def from_dict(cls, options: TaskOptions, content: dict[str, Any]) -> Self:
        """Return the task that `to_dict` described."""
        words = WordVocabulary.from_dict(content)
        tags = strings_of(content, "tags", least=2)
        alphabet = Alphabet(letters_of(content, "letters"), text_version_of(content))
        affixes = Affixes(strings_of(content, "affixes"))
        is_iob2, width = flag_of(content, "is_iob2"), width_of(content)
        return cls(options, tags, words, alphabet, affixes, is_iob2, width)

    def make_model(self, options: ModelOptions) -> Tagger:
        """Return a new tagger for these words, letters and tags."""
        crf = len(self.tags) <= _MOST_TAGS_OF_A_CRF if options.crf is None else options.crf
        return Tagger(
            options,
            vocabulary_size=len(self.words),
            alphabet_size=len(self.alphabet),
            num_affixes=len(self.affixes),
            num_classes=len(self.tags),
            crf=crf,
            vectors_width=self.vectors_width,
        )

    def initialize(self, model: nn.Module, splits: Splits[TaggedSentence]) -> None:
        """Begin with vectors of the words, if there are any."""
        if (path := self.options.data.vectors) is not None:
            words = self.words.decode(range(len(self.words)))
            splits.notes.append(cast(Tagger, model).embedding.begin_with(Path(path), words))

    def check_start(self, splits: Splits[TaggedSentence]) -> None:
        """Raise `DataError` unless a model of these tags can learn these sentences."""
        unknown = sorted(set(tags_of(splits.training)) - set(self.tags))
        if unknown:
            message = f"the run to start from does not know these tags: {', '.join(unknown[:5])}"
            raise DataError(
                message, f"is it the right column? else leave {field('start_from')} out"
            )

    def length(self, example: TaggedSentence) -> int:
        """Return the number of words."""
        return len(example.words)

    def collate(self, sentences: Sequence[Sequence[str]]) -> Sentences:
        """Return the words of sentences as a batch, each different word spelled once."""
        sentences = [list(map(self.alphabet.read, words)) for words in sentences]
        index: dict[str, int] = {}
        spellings = [[index.setdefault(w, len(index)) for w in words] for words in sentences]
        words = [self.words.encode([without_case(w) for w in words]) for words in sentences]
        spelled = [self.alphabet.encode(word) for word in index]
        affixes = torch.tensor([self.affixes.encode(word) for word in index])
        padded, lengths = pad(words)
        letter_lengths = torch.tensor(list(map(len, spelled)))
        letters = _rows(spelled)
        return Sentences(padded, lengths, _rows(spellings), letters, letter_lengths, affixes)

    def targets(self, examples: Sequence[TaggedSentence]) -> Tensor:
        """Return the tags as numbers, (B, T), `IGNORE` for padding and for unknown tags."""
        rows = [[self._tag_ids.get(tag, IGNORE) for tag in example.tags] for example in examples]
        return _rows(rows, IGNORE)

    def loss(self, model: nn.Module, examples: Sequence[TaggedSentence]) -> tuple[Tensor, int]:
        """Return minus the log probability of the tags in nats, and the number of words."""
        batch = moved(self.collate([example.words for example in examples]), model)
        scores, transitions = model(batch)
        return _loss(scores, batch.lengths, transitions, moved(self.targets(examples), model))

    def evaluate(self, model: nn.Module, examples: Sequence[TaggedSentence]) -> dict[str, Any]:
        """Return loss, accuracy, that on words unseen in training, and F1 where tags mark entities.

        With F1 come precision, recall and the F1 of each type.
        """
        loss, predicted = self._measure(model, examples)
        unseen = [
            tag == other
            for example, tags in zip(examples, predicted, strict=True)
            for word, tag, other in zip(example.words, example.tags, tags, strict=True)
            if self._is_unseen(word)
        ]
        metrics: dict[str, Any] = {"loss": loss, **self._scores(examples, predicted)}
        metrics["accuracy_unseen_words"] = sum(unseen) / len(unseen) if unseen else None
        metrics |= {"num_words": sum(map(self.length, examples)), "num_unseen_words": len(unseen)}
        if self.has_entities:
            _, by_type = score_spans([example.tags for example in examples], predicted)
            metrics["f1_by_type"] = {type: score.f1 for type, score in by_type.items()}
        return metrics

    def num_judged(self, metric: str, examples: Sequence[TaggedSentence]) -> int:
        """Return the number of entities for figures of entities, else that of words."""
        if metric in _OF_ENTITIES:
            return sum(len(entities(example.tags)) for example in examples)
        if metric == "accuracy_unseen_words":
            return sum(map(self._is_unseen, (word for e in examples for word in e.words)))
        return sum(map(self.length, examples))

    def baselines(
        self, training: Sequence[TaggedSentence], examples: Sequence[TaggedSentence]
    ) -> dict[str, dict[str, Any]]:
        """Return what the most frequent tag, and the most frequent of each word, are worth."""
        overall = Counter(tag for sentence in training for tag in sentence.tags)
        likeliest = overall.most_common(1)[0][0]
        counts: dict[str, Counter[str]] = {}
        for sentence in training:
            for word, tag in zip(sentence.words, sentence.tags, strict=True):
                counts.setdefault(word, Counter())[tag] += 1
        tag_of = {word: count.most_common(1)[0][0] for word, count in counts.items()}
        always = [[likeliest] * len(example.words) for example in examples]
        each = [[tag_of.get(word, likeliest) for word in example.words] for example in examples]
        return {
            f"always {likeliest}": self._scores(examples, always),
            "each word's tag": self._scores(examples, each),
        }

    def read_examples(self, path: Path) -> tuple[Sequence[TaggedSentence], list[str]]:
        """Return the sentences of a file in the format of the training, and notes."""
        sentences, notes = read_others(path, self.options.data, self.tags)
        return sentences, notes + unseen_tags(str(path), sentences, self.tags)

    def predict(
        self,
        model: nn.Module,
        source: Source,
        options: PredictOptions,  # noqa: ARG002  # there are none
    ) -> Iterator[dict[str, Any]]:
        """Yield for each sentence its words, their tags and how likely each is by itself.

        A file in the format of the training is read as such, its tags ignored; any other input has
        a sentence in each line, its words between blanks.
        """
        for batch in source.in_batches(self._sentences(source), _SENTENCES_AT_ONCE):
            yield from self.tagged(model, batch)

    def to_text(self, prediction: dict[str, Any]) -> str:
        """Return the words, each with its tag behind a slash."""
        pairs = zip(prediction["words"], prediction["tags"], strict=True)
        return " ".join(f"{word}/{tag}" for word, tag in pairs)

    def graphs(self, model: nn.Module) -> TaggerGraphs:
        """Return what is exported of a model."""
        return TaggerGraphs(self, model)

    def page_network(self, model: nn.Module) -> PageNetwork:
        """Return what describes a model to a page that computes it."""
        return partial(page_network, model=cast(Tagger, model), has_entities=self.has_entities)

    def subject(self, model: nn.Module) -> TaggerSubject:
        """Return the tagger and its tags."""
        return TaggerSubject(cast(Tagger, model), self.tags, self.collate, self._sentences)

    def _sentences(self, source: Source) -> Iterator[Sequence[str]]:
        return untagged(source, self.options.data, self.tags)

    def tagged(
        self, model: nn.Module, sentences: Sequence[Sequence[str]]
    ) -> Iterator[dict[str, Any]]:
        """Yield what `predict` does, for sentences that are in words."""
        full = [words for words in sentences if words]
        rows: Iterator[tuple[list[str], list[float]]] = iter(())
        tagger = cast(Tagger, model)
        if full:
            with torch.inference_mode():
                batch = moved(self.collate(full), model)
                scores, _ = tagger(batch)
                tags = self._best(tagger, scores, batch.lengths)
                each = tagger.log_probabilities(scores, batch.lengths).exp()
                likely = each.gather(2, tags[:, :, None])[:, :, 0].tolist()
            names = [[self.tags[id] for id in row] for row in tags.tolist()]
            rows = zip(names, likely, strict=True)
        for words in sentences:
            names_here, likely_here = next(rows) if words else ([], [])
            tags_here = names_here[: len(words)]
            prediction: dict[str, Any] = {"words": list(words), "tags": tags_here}
            prediction["probabilities"] = [round(p, 6) for p in likely_here[: len(words)]]
            if self.has_entities:
                prediction["entities"] = [
                    {"type": e.type, "start": e.start, "stop": e.stop} for e in entities(tags_here)
                ]
            yield prediction

    def _measure(
        self, model: nn.Module, examples: Sequence[TaggedSentence]
    ) -> tuple[float, list[list[str]]]:
        """Return the mean loss, NaN if no tag is known, and the predicted tags of each sentence."""
        tagger = cast(Tagger, model)

        def measured(indices: list[int]) -> tuple[float, int, list[list[int]]]:
            some = [examples[index] for index in indices]
            batch = moved(self.collate([example.words for example in some]), model)
            scores, transitions = tagger(batch)
            targets = moved(self.targets(some), model)
            loss, terms = _loss(scores, batch.lengths, transitions, targets)
            return loss.item(), terms, self._best(tagger, scores, batch.lengths).tolist()

        predicted: list[list[str]] = [[] for _ in examples]
        total, count = 0.0, 0
        batches = list(self.in_batches(examples))
        with torch.inference_mode():
            for indices, (loss, terms, rows) in zip(batches, share(measured, batches), strict=True):
                total, count = total + loss, count + terms
                for index, row in zip(indices, rows, strict=True):
                    tags = [self.tags[id] for id in row]
                    predicted[index] = tags[: self.length(examples[index])]
        return total / count if count else math.nan, predicted

    def _is_unseen(self, word: str) -> bool:
        return without_case(self.alphabet.read(word)) not in self.words

    def _best(self, tagger: Tagger, scores: Tensor, lengths: Tensor) -> Tensor:
        """Return the likeliest tags among those that the scheme allows, (B, T)."""
        transitions: Tensor | None = tagger.transitions
        if transitions is None:
            if self._allowed is None:
                return scores.argmax(dim=2)
            transitions = scores.new_zeros(len(self.tags) + 1, len(self.tags))
        if self._allowed is not None:
            transitions = transitions.masked_fill(~moved(self._allowed, scores), -torch.inf)
        return best_path(scores, lengths, transitions)

    def _scores(
        self, examples: Sequence[TaggedSentence], predicted: Sequence[Sequence[str]]
    ) -> dict[str, float]:
        right = [
            tag == other
            for example, tags in zip(examples, predicted, strict=True)
            for tag, other in zip(example.tags, tags, strict=True)
        ]
        scores = {}
        if self.has_entities:
            score, _ = score_spans([example.tags for example in examples], predicted)
            scores = {"f1": score.f1, "precision": score.precision, "recall": score.recall}
        scores["accuracy"] = sum(right) / len(right)
        return scores


def _rows(rows: Sequence[Sequence[int]], value: int = 0) -> Tensor:
    """Return rows of numbers as one tensor, the shorter filled up: faster than a tensor a row."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])


def _loss(
    scores: Tensor, lengths: Tensor, transitions: Tensor | None, targets: Tensor
) -> tuple[Tensor, int]:
    """Return minus the log probability of the tags, and how many are known."""
    if transitions is None:
        loss = F.cross_entropy(
            scores.flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum"
        )
    else:
        loss = -log_likelihood(scores, lengths, transitions, targets).sum()
    return loss, int((targets != IGNORE).sum())
