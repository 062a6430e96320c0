"""`unrolled train lm`: a language model from text files. Options, and what they set."""

from pathlib import Path
from typing import Annotated

import typer

from unrolled.cli.options import (
    Cell,
    ClipNorm,
    Dropout,
    HiddenSize,
    KernelSize,
    Layers,
    LearningRate,
    Parameters,
    Patience,
    RunPath,
    Seed,
    data_option,
    model_option,
    new_run_path,
    training_option,
)

__all__ = ["train_lm"]

_DEFAULT_MINUTES = 5.0


def train_lm(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Text files, joined in this order."),
    ] = None,
    standard_library: Annotated[
        bool, data_option("--standard-library", help="Train on the modules of this Python instead.")
    ] = False,
    tokens: Annotated[str, data_option(metavar="KIND", help="char, byte or bpe.")] = "char",
    vocabulary_size: Annotated[
        int | None, data_option(help="How many tokens, for bpe.", show_default="1024")
    ] = None,
    held_out: Annotated[
        float, data_option(metavar="FRACTION", help="The end of the text, only measured on.")
    ] = 0.1,
    encoding: Annotated[
        str, data_option(metavar="NAME", help="How the files are encoded.")
    ] = "utf-8",
    cell: Cell = "lstm",
    hidden_size: HiddenSize = 512,
    parameters: Parameters = None,
    layers: Layers = None,
    embedding_size: Annotated[
        int | None, model_option(help="Learned features of each token.", show_default="one-hot")
    ] = None,
    kernel_size: KernelSize = None,
    dropout: Dropout = 0.0,
    run: RunPath = None,
    minutes: Annotated[
        float | None, training_option(help="Time to train.", show_default=f"{_DEFAULT_MINUTES:g}")
    ] = None,
    epochs: Annotated[
        float | None, training_option(help="Passes over the text, instead of a time.")
    ] = None,
    columns: Annotated[int, training_option(help="Places of the text read side by side.")] = 32,
    k1: Annotated[int, training_option(help="Steps forward in each update.")] = 64,
    k2: Annotated[
        int | None, training_option(help="Steps the gradient goes backward.", show_default="k1")
    ] = None,
    log_reach: Annotated[
        bool, training_option("--log-reach", help="Also log how far back the gradient reaches.")
    ] = False,
    learning_rate: LearningRate = 8e-3,
    clip_norm: ClipNorm = 1.0,
    patience: Patience = None,
    seed: Seed = 0,
) -> None:
    """Train a language model: text in, a model of what comes next out.

    Ctrl-C saves, and `unrolled resume` goes on. For several processes:
    torchrun --nproc-per-node 2 -m -- unrolled train lm FILE ...
    """
    if bool(files) == standard_library:
        raise typer.BadParameter("give text files or --standard-library, one of the two")
    if minutes is None and epochs is None:
        minutes = _DEFAULT_MINUTES
    from unrolled.cli.session import fit_language_model
    from unrolled.data import python_library_text
    from unrolled.tasks.lm.task import TextOptions, prepare_language_model
    from unrolled.training import TrainingOptions, initialize_distributed

    text = TextOptions(
        tokens=tokens,
        bpe_size=vocabulary_size,
        encoding=encoding,
        held_out_fraction=held_out,
        num_columns=columns,
        k1=k1,
        k2=k2,
        log_reach=log_reach,
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
            run or processes.from_first(lambda: new_run_path("lm", cell)),
            training=training,
            text=text,
            processes=processes,
            cell=cell,
            hidden_size=hidden_size,
            num_parameters=parameters,
            num_layers=layers,
            embedding_size=embedding_size,
            kernel_size=kernel_size,
            dropout=dropout,
        )
        fit_language_model(trainer)
