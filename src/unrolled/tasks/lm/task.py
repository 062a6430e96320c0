"""Training a language model on text files, from the files to a run's folder and back.

Here the parts are put together: text, vocabulary, columns, model, trainer. A new run and a resumed
one are built by the same code from the same config.json.

    trainer = prepare_language_model([Path("book.txt")], Path("runs/book"), training=options)
    result = trainer.fit()
    model, vocabulary, config = load_language_model(Path("runs/book"))
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolled.data.files import fingerprint
from unrolled.data.text import read_text
from unrolled.data.vocabulary import (
    BPEVocabulary,
    ByteVocabulary,
    CharVocabulary,
    Vocabulary,
    load_vocabulary,
    save_vocabulary,
)
from unrolled.errors import DataError, OptionError, RunError, require
from unrolled.networks.budget import hidden_size_for
from unrolled.networks.language_model import LanguageModel, LanguageModelConfig
from unrolled.networks.sequence_layers import default_num_layers
from unrolled.tasks.lm.columns import Columns
from unrolled.tasks.lm.evaluation import LanguageModelMetrics, evaluate_language_model
from unrolled.tasks.lm.objective import LanguageModelObjective
from unrolled.tasks.lm.tbptt import TruncatedBPTT
from unrolled.training.checkpoint import load_weights
from unrolled.training.distributed import ALONE, Processes
from unrolled.training.options import TrainingOptions
from unrolled.training.results import Results, results_of
from unrolled.training.run import Run, writing
from unrolled.training.trainer import Trainer

__all__ = [
    "TextOptions",
    "evaluate_text",
    "finish_language_model",
    "held_out_text",
    "load_language_model",
    "prepare_language_model",
    "resume_language_model",
]

TASK = "lm"
_FILE = ("path", "bytes", "sha256")  # what is recorded of each file


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """How a language model reads its text.

    Args:
        tokens: "char", "byte" or "bpe".
        bpe_size: Tokens of a BPE vocabulary, for "bpe" only; 1024 if None.
        encoding: Of the files.
        held_out_fraction: The end of the text that is not learned from, in (0, 1).
        num_columns: B, columns read side by side in each process: the rows of a batch.
        k1: Steps forward: newly predicted by each update.
        k2: Steps backward: those the gradient goes through; `k1` if None.
        log_reach: Whether evaluations also measure how far back the gradient reaches, up to twice
            the steps that it goes through in training.
    """

    tokens: str = "char"
    bpe_size: int | None = None
    encoding: str = "utf-8"
    held_out_fraction: float = 0.1
    num_columns: int = 32
    k1: int = 64
    k2: int | None = None
    log_reach: bool = False

    def __post_init__(self) -> None:
        kinds = ("char", "byte", "bpe")
        require(self.tokens in kinds, "tokens", f"one of {', '.join(kinds)}", repr(self.tokens))
        if self.bpe_size is not None and self.tokens != "bpe":
            message = "bpe_size (the size of the vocabulary) is for bpe"
            raise OptionError(f"{message}, but the tokens are {self.tokens}", "leave it out")
        fraction = self.held_out_fraction
        require(0 < fraction < 1, "held_out_fraction", "a part of the text, in (0, 1)", fraction)
        columns = self.num_columns
        require(columns >= 1, "num_columns (columns side by side)", "at least 1", columns)
        require(self.k1 >= 1, "k1 (steps forward)", "at least 1", self.k1)
        require(
            self.k2 is None or self.k2 >= self.k1,
            "k2 (steps backward)",
            f"at least k1 (steps forward), {self.k1}",
            self.k2,
        )


@dataclass(frozen=True)
class _Setup:
    """What config.json says: all that a run is built from, but for the text itself."""

    model: LanguageModelConfig
    text: TextOptions
    training: TrainingOptions
    files: list[dict[str, Any]]

    def config(self) -> dict[str, Any]:
        return {
            "task": TASK,
            "model": asdict(self.model),
            "data": {"files": self.files, **asdict(self.text)},
            "training": asdict(self.training),
        }

    @classmethod
    def of(cls, run: Run) -> "_Setup":
        task = run.config.get("task")
        if task != TASK:
            raise RunError(f"{run.path}: not a language model, its task is {task!r}")
        try:
            data = dict(run.config["data"])
            files = [{name: file[name] for name in _FILE} for file in data.pop("files")]
            return cls(
                files=files,
                text=TextOptions(**data),
                model=LanguageModelConfig(**run.config["model"]),
                training=TrainingOptions(**run.config["training"]),
            )
        except (KeyError, TypeError, ValueError) as error:  # a missing name, one too many, a value
            raise RunError(f"{run.config_path}: not what `unrolled` wrote: {error!r}") from error


def prepare_language_model(
    files: Sequence[Path],
    run_path: Path,
    *,
    training: TrainingOptions,
    text: TextOptions | None = None,
    num_parameters: int | None = None,
    num_layers: int | None = None,
    processes: Processes = ALONE,
    **model: Any,
) -> Trainer:
    """Make a run's folder and return the trainer that fills it: `trainer.fit()`.

    Everything about options and data is checked before the folder is made. This seeds torch's
    global random generator.

    Args:
        files: Text, joined in this order.
        run_path: The run's folder; it must not exist, or be empty.
        training: How long and how fast.
        text: How the text is read.
        num_parameters: If given, the hidden size is the largest that keeps within it.
        num_layers: Layers one above the other; None takes what suits the cell.
        processes: Those of `initialize_distributed()`; every process makes this call.
        model: Further arguments of `LanguageModelConfig`, but for the size of the vocabulary.

    Raises:
        DataError: A file cannot be read, or the text is too short for its columns.
        OptionError: An option is out of range.
        RunError: The folder is in the way or cannot be made.
    """
    text = text or TextOptions()
    config = LanguageModelConfig(vocabulary_size=1, **model)  # refuses before a long read
    config = replace(config, num_layers=num_layers or default_num_layers(config.cell))
    processes.from_first(lambda: Run.check_vacant(run_path))
    content = read_text(files, text.encoding)
    vocabulary = processes.from_first(lambda: _make_vocabulary(content, text))
    config = replace(config, vocabulary_size=len(vocabulary))
    if num_parameters is not None:
        size = hidden_size_for(
            lambda size: LanguageModel(replace(config, hidden_size=size)), num_parameters
        )
        config = replace(config, hidden_size=size)
    setup = _Setup(
        model=config,
        text=text,
        training=training,
        files=[fingerprint(path) for path in files],
    )
    run = Run(run_path)
    trainer = _assemble(run, setup, content, vocabulary, processes)

    def create() -> None:
        Run.create(run_path)
        with run.locked():
            Run.check_vacant(run_path)  # another process may have had the same idea meanwhile
            with writing(run.vocabulary_path):
                save_vocabulary(vocabulary, run.vocabulary_path)
            run.save_config(setup.config())  # last: from here on it is a run, and can be resumed

    processes.from_first(create)
    return trainer


def resume_language_model(run_path: Path, processes: Processes = ALONE) -> Trainer:
    """Return the trainer of a run where it stopped: `trainer.fit()` goes on.

    Until then, nothing may draw from the global random generators, which are those of the run.

    Raises:
        DataError: A file of the training text is gone.
        RunError: There is no such run, it is damaged, or a file of its text has changed.
    """
    run = Run.open(run_path)
    setup = _Setup.of(run)
    files = [Path(file["path"]) for file in setup.files]
    content = read_text(files, setup.text.encoding)
    for path, recorded in zip(files, setup.files, strict=True):
        if fingerprint(path)["sha256"] != recorded["sha256"]:
            message = f"{path}: has changed since the run began"
            raise RunError(message, f"put back the file that {run_path} was trained on, or retrain")
    vocabulary = _load_vocabulary(run, setup)
    trainer = _assemble(run, setup, content, vocabulary, processes)
    trainer.restore()
    return trainer


def load_language_model(run_path: Path) -> tuple[LanguageModel, Vocabulary, dict[str, Any]]:
    """Return the best model of a run in eval mode, its vocabulary, and what config.json says.

    Raises:
        RunError: There is no such run, it is damaged, or has not been evaluated yet.
    """
    run = Run.open(run_path)
    setup = _Setup.of(run)
    model = LanguageModel(setup.model)
    vocabulary = _load_vocabulary(run, setup)
    load_weights(run.weights_path, model)
    return model.eval(), vocabulary, run.config | setup.config()


def finish_language_model(trainer: Trainer) -> Results:
    """Measure the weights that were kept on the held-out part, and write the run's results.json."""
    load_weights(trainer.run.weights_path, trainer.model)
    results = results_of(
        trainer, "nats/token", "held_out", trainer.objective.evaluate(trainer.model)
    )
    results.save(trainer.run)
    return results


def held_out_text(config: dict[str, Any]) -> str:
    """Return the part of a run's text that it did not learn from.

    Args:
        config: What config.json says, as `load_language_model` returns it.

    Raises:
        DataError: A file of the text is gone.
    """
    data = dict(config["data"])
    files = [Path(file["path"]) for file in data.pop("files")]
    text = TextOptions(**data)
    content = read_text(files, text.encoding)
    return content[_cut(content, text) :]


def evaluate_text(model: LanguageModel, vocabulary: Vocabulary, text: str) -> LanguageModelMetrics:
    """Return how well `model` predicts `text`: every token after the first.

    Raises:
        DataError: The text is shorter than two tokens.
        VocabularyError: The text has characters that the vocabulary lacks.
    """
    tokens = _encode(vocabulary, text)
    return evaluate_language_model(model, tokens, _characters_after_first(vocabulary, text, tokens))


def _assemble(
    run: Run, setup: _Setup, content: str, vocabulary: Vocabulary, processes: Processes
) -> Trainer:
    text, training = setup.text, setup.training
    torch.manual_seed(training.seed + processes.rank)  # weights are the first's, dropout each's own
    cut = _cut(content, text)
    tokens, held_out = (_encode(vocabulary, part) for part in (content[:cut], content[cut:]))
    columns = Columns(tokens, text.num_columns * processes.world_size, min_steps=text.k1)
    objective = LanguageModelObjective(
        TruncatedBPTT(columns, text.k1, text.k2 or text.k1, processes),
        characters_per_token=cut / len(tokens),
        held_out=held_out,
        held_out_characters=_characters_after_first(vocabulary, content[cut:], held_out),
        reach_lag=2 * (text.k2 or text.k1) if text.log_reach else None,
    )
    return Trainer(LanguageModel(setup.model), objective, run, training, processes)


def _make_vocabulary(content: str, text: TextOptions) -> Vocabulary:
    if text.tokens == "char":
        return CharVocabulary.from_text(content)
    if text.tokens == "byte":
        return ByteVocabulary()
    return BPEVocabulary.train(content[: _cut(content, text)], text.bpe_size or 1024)


def _load_vocabulary(run: Run, setup: _Setup) -> Vocabulary:
    vocabulary = load_vocabulary(run.vocabulary_path)
    if len(vocabulary) != setup.model.vocabulary_size:
        message = f"{run.vocabulary_path}: {len(vocabulary)} tokens, "
        raise RunError(f"{message}but config.json says {setup.model.vocabulary_size}")
    return vocabulary


def _cut(content: str, text: TextOptions) -> int:
    """Return where the held-out part begins, in characters."""
    return int(len(content) * (1 - text.held_out_fraction))


def _encode(vocabulary: Vocabulary, text: str) -> Tensor:
    tokens = vocabulary.encode(text)
    if len(tokens) < 2:
        message = f"the text is too short to predict: {len(tokens)} tokens, at least 2 are needed"
        raise DataError(message, "give more text")
    return tokens


def _characters_after_first(vocabulary: Vocabulary, text: str, tokens: Tensor) -> int:
    """Return how many characters end in `tokens[1:]`."""
    return len(text) - len(vocabulary.decoder().push(int(tokens[0])))
