"""`unrolled train lm`: a language model from text files. Options, and what they set."""

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["train_lm"]

_DEFAULT_MINUTES = 5.0

_data = partial(typer.Option, rich_help_panel="Data")
_model = partial(typer.Option, rich_help_panel="Model")
_training = partial(typer.Option, rich_help_panel="Training")


def train_lm(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Text files, joined in this order."),
    ] = None,
    standard_library: Annotated[
        bool, _data("--standard-library", help="Train on the modules of this Python instead.")
    ] = False,
    tokens: Annotated[str, _data(metavar="KIND", help="char, byte or bpe.")] = "char",
    vocabulary_size: Annotated[
        int | None, _data(help="How many tokens, for bpe.", show_default="1024")
    ] = None,
    held_out: Annotated[
        float, _data(metavar="FRACTION", help="The end of the text, only measured on.")
    ] = 0.1,
    encoding: Annotated[str, _data(metavar="NAME", help="How the files are encoded.")] = "utf-8",
    cell: Annotated[
        str, _model(metavar="NAME", help="rnn, lstm, gru, janet, tcn, dense or conv.")
    ] = "lstm",
    hidden_size: Annotated[int, _model(help="Units of each layer.")] = 512,
    layers: Annotated[int, _model(help="Layers one above the other.")] = 1,
    embedding_size: Annotated[
        int | None, _model(help="Learned features of each token.", show_default="one-hot")
    ] = None,
    kernel_size: Annotated[
        int | None, _model(help="Steps under a convolution.", show_default="tcn: 3, conv: 8")
    ] = None,
    dropout: Annotated[float, _model(help="Part of the units to silence.")] = 0.0,
    run: Annotated[
        Path | None,
        _training(metavar="DIR", help="The folder to make.", show_default="runs/lm-CELL-DATE-TIME"),
    ] = None,
    minutes: Annotated[
        float | None, _training(help="Time to train.", show_default=f"{_DEFAULT_MINUTES:g}")
    ] = None,
    epochs: Annotated[
        float | None, _training(help="Passes over the text, instead of a time.")
    ] = None,
    columns: Annotated[int, _training(help="Places of the text read side by side.")] = 32,
    k1: Annotated[int, _training(help="Steps forward in each update.")] = 64,
    k2: Annotated[
        int | None, _training(help="Steps the gradient goes backward.", show_default="k1")
    ] = None,
    learning_rate: Annotated[float, _training(help="Its peak, after the warm-up.")] = 8e-3,
    clip_norm: Annotated[float, _training(help="The longest gradient, shortened beyond.")] = 1.0,
    patience: Annotated[
        int | None,
        _training(help="Evaluations without a new best until the end.", show_default="endless"),
    ] = None,
    seed: Annotated[int, _training(help="Of everything random.")] = 0,
) -> None:
    """Train a language model: text in, a model of what comes next out.

    Ctrl-C saves, and `unrolled resume` goes on. For several processes:
    torchrun --nproc-per-node 2 -m -- unrolled train lm FILE ...
    """
    if bool(files) == standard_library:
        raise typer.BadParameter("give text files or --standard-library, one of the two")
    if minutes is None and epochs is None:
        minutes = _DEFAULT_MINUTES
    from unrolled.cli.session import fit
    from unrolled.data import python_library_text
    from unrolled.training import (
        TextOptions,
        TrainingOptions,
        initialize_distributed,
        prepare_language_model,
    )

    text = TextOptions(
        tokens=tokens,
        bpe_size=vocabulary_size,
        encoding=encoding,
        held_out_fraction=held_out,
        num_columns=columns,
        k1=k1,
        k2=k2,
    )
    training = TrainingOptions(
        minutes=minutes,
        epochs=epochs,
        learning_rate=learning_rate,
        clip_norm=clip_norm,
        patience=patience,
        seed=seed,
    )
    with initialize_distributed() as processes:
        trainer = prepare_language_model(
            files or python_library_text(),
            run or processes.from_first(lambda: _new_run_path(cell)),
            training=training,
            text=text,
            processes=processes,
            cell=cell,
            hidden_size=hidden_size,
            num_layers=layers,
            embedding_size=embedding_size,
            kernel_size=kernel_size,
            dropout=dropout,
        )
        fit(trainer)


def _new_run_path(cell: str) -> Path:
    return Path("runs") / f"lm-{cell}-{datetime.now():%Y%m%d-%H%M%S}"
