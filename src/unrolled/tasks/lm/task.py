"""A language model: the next token of a text. One long text, cut in two where it stands.

Not here: the network (`model.py`), the text in columns and the walk through it (`columns.py`,
`tbptt.py`), how well a text is predicted (`evaluation.py`), new text (`sampling.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from unrolled.data.long_text import LongText, Text, is_long
from unrolled.data.source import Source
from unrolled.data.text import python_library_text, read_text
from unrolled.data.vocabulary import (
    BPEVocabulary,
    ByteVocabulary,
    CharVocabulary,
    Vocabulary,
    WordTokenVocabulary,
    vocabulary_from_dict,
)
from unrolled.errors import DataError, VocabularyError, field
from unrolled.metrics import Metric
from unrolled.networks.devices import moved
from unrolled.networks.options import GenerateOptions
from unrolled.tasks.lm.columns import Columns
from unrolled.tasks.lm.evaluation import TextSize, combined, evaluate_language_model
from unrolled.tasks.lm.exports import LanguageGraphs
from unrolled.tasks.lm.model import LanguageModel
from unrolled.tasks.lm.objective import LanguageModelObjective
from unrolled.tasks.lm.options import DataOptions, ModelOptions, PredictOptions, TrainingOptions
from unrolled.tasks.lm.page_network import page_network
from unrolled.tasks.lm.sampling import default_prompt, generate, generate_many
from unrolled.tasks.lm.streamed import COUNTED, StreamedColumns, split_streamed
from unrolled.tasks.lm.subject import LanguageSubject
from unrolled.tasks.lm.tbptt import TruncatedBPTT
from unrolled.tasks.page_network import PageNetwork
from unrolled.tasks.task import OptionClasses, Splits, Task, TaskOptions
from unrolled.training import Processes

__all__ = ["LanguageModelTask"]

_SAMPLE_LENGTH = 300  # tokens
_WORD_EMBEDDING = 256  # the absent embedding size of words
_LONGEST_TOKEN = 16  # characters, on the mean over a text


class LanguageModelTask(Task[Text]):
    """The next token of a text. Its examples are texts: one to learn from, one held out.

    Args:
        options: What was chosen.
        vocabulary: Of the text.
    """

    name = "lm"
    metrics = (
        Metric("bits_per_character", "lower"),
        Metric("perplexity_per_token", "lower"),
        Metric("perplexity_per_word", "lower"),
        Metric("loss", "lower", "nats/token"),
        Metric("gradient_half_life_tokens", None),
        Metric("gradient_horizon_tokens", None),
        Metric("num_tokens", None),
        Metric("num_characters", None),
        Metric("num_words", None),
    )
    option_classes = OptionClasses(DataOptions, ModelOptions, TrainingOptions, PredictOptions)

    def __init__(self, options: TaskOptions, vocabulary: Vocabulary) -> None:
        super().__init__(options)
        self.vocabulary = vocabulary

    @classmethod
    def files(cls, data: DataOptions) -> list[Path]:
        """Return the text files."""
        return python_library_text() if data.standard_library else [Path(f) for f in data.files]

    @classmethod
    def read(cls, options: TaskOptions) -> Splits[Text]:
        """Return the text in two parts, the end of it held out; or whole.

        Raises:
            DataError: A file cannot be read, or is not text.
            OptionError: More of a text that is streamed is to be held out than memory is for.
        """
        data: DataOptions = options.data
        files = cls.files(data)
        if is_long(files) if data.stream is None else data.stream:
            return split_streamed(LongText.open(files, data.encoding), data)
        text = read_text(files, data.encoding)
        cut = int(len(text) * (1 - data.held_out_part))
        return Splits([text[:cut]], [text[cut:]] if data.held_out_part else [], [], [])

    @classmethod
    def fit(cls, options: TaskOptions, splits: Splits[Text]) -> Self:
        """Return the task with its vocabulary; of BPE and words that of the training part.

        Of a text that is streamed words and pieces are counted on a sample of that part.
        """
        data: DataOptions = options.data
        (learned,) = splits.training
        vocabulary: Vocabulary
        if data.tokens == "char":
            parts = (learned, *splits.held_out)
            texts = [each.characters if isinstance(each, LongText) else each for each in parts]
            vocabulary = CharVocabulary.from_text("".join(texts))
        elif data.tokens == "byte":
            vocabulary = ByteVocabulary()
        else:
            counted = learned.sample(COUNTED) if isinstance(learned, LongText) else learned
            if data.tokens == "bpe":
                vocabulary = BPEVocabulary.train(counted, data.most_tokens)
            else:
                vocabulary = WordTokenVocabulary.from_text(counted, data.most_tokens)
        return cls(options, vocabulary)

    def to_dict(self) -> dict[str, Any]:
        """Return the vocabulary."""
        return self.vocabulary.to_dict()

    @classmethod
    def from_dict(cls, options: TaskOptions, content: dict[str, Any]) -> Self:
        """Return the task that `to_dict` described."""
        return cls(options, vocabulary_from_dict(content))

    def make_model(self, options: ModelOptions) -> LanguageModel:
        """Return a new language model for this vocabulary."""
        return LanguageModel(
            options,
            vocabulary_size=len(self.vocabulary),
            embedding_size=options.embedding_size or self._embedding_size,
        )

    @property
    def _embedding_size(self) -> int | None:
        """What stands for an embedding size that is not given; None for one-hot input."""
        return _WORD_EMBEDDING if isinstance(self.vocabulary, WordTokenVocabulary) else None

    def objective(self, splits: Splits[Text], processes: Processes) -> LanguageModelObjective:
        """Return the walk through the training part, window by window.

        Raises:
            DataError: The text is too short for its columns, or to be predicted.
        """
        training: TrainingOptions = self.options.training
        (learned,), held_out = splits.training, "".join(map(str, splits.held_out))
        held_out_tokens = self.encode(held_out) if splits.held_out else None
        columns: Columns | StreamedColumns
        if isinstance(learned, LongText):
            self.vocabulary.encode(learned.characters)  # for its errors
            columns = StreamedColumns(
                learned, self.vocabulary, training.batch_size, min_steps=training.k1
            )
            characters_per_token = learned.num_characters / columns.num_tokens
        else:
            tokens = self.encode(learned)
            columns = Columns(tokens, training.batch_size, min_steps=training.k1)
            characters_per_token = len(learned) / len(tokens)
        return LanguageModelObjective(
            TruncatedBPTT(
                columns,
                training.k1,
                training.steps_backward,
                processes,
                accumulate=training.accumulate,
            ),
            characters_per_token=characters_per_token,
            held_out=held_out_tokens,
            held_out_size=(
                TextSize(0, 0)
                if held_out_tokens is None
                else self._size_after_first(held_out, held_out_tokens)
            ),
            reach_lag=2 * training.steps_backward if training.log_reach else None,
        )

    def evaluate(self, model: nn.Module, examples: Sequence[Text]) -> dict[str, Any]:
        """Return how well texts are predicted: every token of each after its first.

        Raises:
            DataError: A text is shorter than two tokens.
            VocabularyError: A text has characters that the vocabulary lacks.
        """
        measured = []
        for text in chain.from_iterable(map(_pieces, examples)):
            tokens = self.encode(text)
            size = self._size_after_first(text, tokens)
            measured.append(evaluate_language_model(cast(LanguageModel, model), tokens, size))
        return combined(measured).to_dict()

    def fingerprints(self, splits: Splits[Text]) -> list[dict[str, Any]]:
        """Return those of the text files; of a streamed text they were made while it was read."""
        (learned,) = splits.training
        if isinstance(learned, LongText):
            return learned.fingerprints
        return super().fingerprints(splits)

    def read_examples(self, path: Path) -> tuple[list[Text], list[str]]:
        """Return the text of a file."""
        if is_long([path]):
            note = (
                f"{path}: measured in pieces of 16 million characters, each after its first token"
            )
            return [LongText.open([path], self.options.data.encoding)], [note]
        return [read_text([path], self.options.data.encoding)], []

    def predict(
        self, model: nn.Module, source: Source, options: PredictOptions
    ) -> Iterator[dict[str, Any]]:
        """Yield for each line how well it is predicted, and what is expected to come after it.

        With `skip_unknown`, characters that the vocabulary lacks are not read, and are "unknown".

        Raises:
            VocabularyError: A line has such characters; it names the line.
        """
        for number, line in enumerate(source.lines(), 1):
            known, unknown = self.readable(line) if options.skip_unknown else (line, [])
            try:
                tokens = self.vocabulary.encode(known)
            except VocabularyError as error:
                message = f"{source.name}, line {number}: {error.message}"
                hint = f"{error.hint}; {field('skip_unknown')} leaves them out"
                raise VocabularyError(message, hint) from None
            prediction: dict[str, Any] = {"text": line, "bits_per_character": None, "next": []}
            if unknown:
                prediction["unknown"] = unknown
            if len(tokens) > 1:
                figures = self.evaluate(model, [known])
                prediction["bits_per_character"] = figures["bits_per_character"]
            if len(tokens):
                prediction["next"] = self._expected(model, tokens, options.candidates)
            yield prediction

    def to_text(self, prediction: dict[str, Any]) -> str:
        """Return bits per character, the likeliest next tokens, and the text."""
        bits = prediction["bits_per_character"]
        candidates = ", ".join(f"{c['text']!r} {c['probability']:.2f}" for c in prediction["next"])
        return f"{'' if bits is None else f'{bits:.3f}'}\t{candidates}\t{prediction['text']}"

    def beginning(self, examples: Sequence[Text], num_steps: int) -> list[Text]:
        """Return the beginning of the first text."""
        most = 1 if self.vocabulary.kind in ("char", "byte") else _LONGEST_TOKEN  # in characters
        return [str(text)[: num_steps * most] for text in examples[:1]]

    @property
    def commands(self) -> tuple[str, ...]:
        """It writes."""
        return "generate RUN", "evaluate RUN FILE"

    @property
    def characters(self) -> str | None:
        """Those of the vocabulary, where it is one of characters."""
        if not isinstance(self.vocabulary, CharVocabulary):
            return None
        return "".join(self.vocabulary.symbols(id) for id in range(len(self.vocabulary)))

    @property
    def steps_backward(self) -> int:
        """k2."""
        training: TrainingOptions = self.options.training
        return training.steps_backward

    @property
    def prompt(self) -> str:
        """A new line, or the vocabulary's first character."""
        return default_prompt(self.vocabulary)

    def generate(self, model: nn.Module, prompt: str, options: GenerateOptions) -> Iterator[str]:
        """Return the text that the model writes after `prompt`."""
        return generate(cast(LanguageModel, model), self.vocabulary, prompt, **options.to_dict())

    def generate_many(
        self, model: nn.Module, prompt: str, options: Sequence[GenerateOptions]
    ) -> list[Iterator[str]]:
        """Return texts that the model writes after `prompt`, drawn together."""
        return generate_many(cast(LanguageModel, model), self.vocabulary, prompt, options)

    def graphs(self, model: nn.Module) -> LanguageGraphs:
        """Return what is exported of a model."""
        return LanguageGraphs(self, model)

    def page_network(self, model: nn.Module) -> PageNetwork:
        """Return what describes a model to a page that computes it."""
        return partial(page_network, model=cast(LanguageModel, model), prompt=self.prompt)

    def subject(self, model: nn.Module) -> LanguageSubject:
        """Return the model and its vocabulary."""
        encoding = self.options.data.encoding
        return LanguageSubject(cast(LanguageModel, model), self.vocabulary, encoding)

    def describe(self, splits: Splits[Text]) -> str:
        """Return how much text, and the vocabulary."""
        size = sum(path.stat().st_size for path in self.files(self.options.data))
        vocabulary = f"vocabulary of {len(self.vocabulary):,} ({self.vocabulary.kind})"
        if isinstance(self.vocabulary, WordTokenVocabulary) and splits.held_out:
            share = self.vocabulary.spelled(str(splits.held_out[0]))
            vocabulary += f", {share:.1%} of the held-out words are spelled"
        return f"{size:,} bytes of text, {vocabulary}"

    def sample(self, model: nn.Module, seed: int) -> str:
        """Return a text of 300 tokens that the model writes now."""
        pieces = self.generate(
            model, self.prompt, GenerateOptions(length=_SAMPLE_LENGTH, seed=seed)
        )
        return "".join(pieces)

    def encode(self, text: str) -> Tensor:
        """Return the tokens of a text, at least two.

        Raises:
            DataError: The text is too short.
            VocabularyError: It has characters that the vocabulary lacks.
        """
        tokens = self.vocabulary.encode(text)
        if len(tokens) < 2:
            message = f"the text is too short to predict: {len(tokens)} tokens"
            raise DataError(f"{message}, at least 2 are needed", "give more text")
        return tokens

    def _size_after_first(self, text: str, tokens: Tensor) -> TextSize:
        """Return the size of what `tokens[1:]` stand for, the end of a character for all of it."""
        return TextSize.of(text[len(self.vocabulary.decoder().push(int(tokens[0]))) :])

    @torch.inference_mode()
    def _expected(self, model: nn.Module, tokens: Tensor, count: int) -> list[dict[str, Any]]:
        scores, _ = model(moved(tokens[None], model))
        top = scores[0, -1].cpu().double().softmax(-1).topk(min(count, len(self.vocabulary)))
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        return [{"text": self.vocabulary.symbols(id), "probability": p} for id, p in pairs]


def _pieces(text: Text) -> Iterable[str]:
    """Return the pieces in which a text is measured."""
    return text.pieces() if isinstance(text, LongText) else [text]
