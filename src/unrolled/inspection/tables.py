"""Traces as tables and files: polars (and from there pandas), safetensors, LSTMVis.

Not here: reading them back, which those libraries do.
"""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import safetensors.torch
import torch
from torch import Tensor

from unrolled.data.files import write_atomically
from unrolled.errors import OptionError
from unrolled.layers import Record, valid_steps

if TYPE_CHECKING:
    import polars

__all__ = ["save_lstmvis", "save_safetensors", "to_polars"]

_SHOWN = {" ": "\u2423", "\n": "\u21b5", "\t": "\u21e5", "": "\u2205"}  # a dict file has no blanks


def to_polars(records: Sequence[Record]) -> "polars.DataFrame":
    """Return traces as one table: a line for each layer, direction, row, step and unit.

    Columns `layer`, `reverse`, `row`, `step`, `unit`, and one for each value by its name. Padding
    has no lines. For pandas: `to_polars(records).to_pandas()`.

    Args:
        records: What `trace` returned.

    Raises:
        OptionError: polars is not installed.

    Example:
        >>> import torch, unrolled
        >>> table = to_polars(unrolled.trace(unrolled.JANET(3, 4), torch.randn(5, 2, 3)))
        >>> table.shape, table.columns
        ((40, 8), ['layer', 'reverse', 'row', 'step', 'unit', 'h', 'f', 'g'])
    """
    try:
        import polars
    except ImportError:
        raise OptionError(
            "tables need polars, which is not installed", 'pip install "unrolled[tables]"'
        ) from None
    frames = []
    for record in records:
        first = next(iter(record.values.values()))
        valid = valid_steps(record.lengths, len(first)).T  # (B, T)
        row, step = valid.nonzero(as_tuple=True)
        size = first.shape[2]
        columns: dict[str, Tensor] = {
            "row": row.repeat_interleave(size),
            "step": step.repeat_interleave(size),
            "unit": torch.arange(size, device=row.device).repeat(len(row)),
        }
        columns |= {name: v.transpose(0, 1)[valid].flatten() for name, v in record.values.items()}
        frame = polars.DataFrame({name: values.cpu().numpy() for name, values in columns.items()})
        which = [
            polars.lit(record.layer).alias("layer"),
            polars.lit(record.reverse).alias("reverse"),
        ]
        frames.append(frame.select(*which, polars.all()))
    return polars.concat(frames, how="diagonal")


def save_safetensors(records: Sequence[Record], path: Path) -> None:
    """Write traces as safetensors: "l0.f", "l0_reverse.f" ... (T, B, H), and "l0.lengths" (B,).

    The file's metadata has "layers": a JSON list of the layers' names and cells.

    Args:
        records: What `trace` returned, of one module.
        path: The file.

    Raises:
        OptionError: Two records have the same layer and direction: trace one module at a time.
    """
    tensors: dict[str, Tensor] = {}
    layers = []
    for record in records:
        prefix = _name(record)
        if f"{prefix}.lengths" in tensors:
            raise OptionError(
                f"save_safetensors: two records of layer {record.layer}", "trace one module"
            )
        tensors[f"{prefix}.lengths"] = record.lengths
        for name, values in record.values.items():
            tensors[f"{prefix}.{name}"] = values.contiguous()
        cell = getattr(record.module, "cell", None)
        layers.append(
            {
                "name": prefix,
                "cell": cell.name if cell else type(record.module).__name__.lower(),
                "values": list(record.values),
                "receptive_field": record.receptive_field,
            }
        )
    with write_atomically(path) as file:
        file.write(safetensors.torch.save(tensors, {"layers": json.dumps(layers)}))


def save_lstmvis(
    records: Sequence[Record], tokens: Sequence[str], folder: Path, name: str = "unrolled"
) -> None:
    """Write traces of one text as a folder that LSTMVis opens: states, words and lstm.yml.

    Source of the layout: H. Strobelt, S. Gehrmann, H. Pfister and A. M. Rush (2018), "LSTMVis",
    and its documentation, "Adding your own data".

    Args:
        records: What `trace` returned for a batch of one row.
        tokens: What each step read, T of them; blanks are written as visible signs.
        folder: To be made; it must be empty if it is there.
        name: Of the project, as LSTMVis shows it.

    Raises:
        OptionError: h5py is not installed, more than one row, a number of tokens that is not T, or
            a folder with something in it.
    """
    h5py = _h5py()
    first = next(iter(records[0].values.values()))
    if first.shape[1] != 1 or len(first) != len(tokens):
        raise OptionError(
            f"save_lstmvis: takes one row and its tokens, got {first.shape[1]} rows of "
            f"{len(first)} steps and {len(tokens)} tokens",
            "trace a batch of one",
        )
    if folder.exists() and any(folder.iterdir()):
        raise OptionError(f"{folder}: the folder is not empty", "name another")
    folder.mkdir(parents=True, exist_ok=True)
    words = ["".join(_SHOWN.get(c, c) for c in token) or _SHOWN[""] for token in tokens]
    ids = {word: number for number, word in enumerate(dict.fromkeys(words))}
    types = []
    with h5py.File(folder / "states.hdf5", "w") as file:
        for record in records:
            for value, values in record.values.items():
                path = f"{value}_{_name(record)}"
                file[path] = values[:, 0].float().cpu().numpy()
                in_one = float(values.abs().max()) <= 1  # else LSTMVis squashes by tanh
                transform = ", transform: none" if in_one else ""
                layer = record.layer + 1
                types.append(f"  {{type: {value}, layer: {layer}, path: {path}{transform}}}")
    with h5py.File(folder / "train.hdf5", "w") as file:
        file["word_ids"] = [ids[word] for word in words]
    lines = [f"{word} {number}\n" for word, number in ids.items()]
    (folder / "words.dict").write_text("".join(lines), encoding="utf-8")
    (folder / "lstm.yml").write_text(
        f"name: {json.dumps(name)}\n"
        "files: {states: states.hdf5, train: train.hdf5, words: words.dict}\n"
        "word_sequence: {file: train, path: word_ids, dict_file: words}\n"
        "states:\n  file: states\n  types: [\n" + ",\n".join(types) + "\n  ]\n",
        encoding="utf-8",
    )


def _name(record: Record) -> str:
    return f"l{record.layer}{'_reverse' if record.reverse else ''}"


def _h5py() -> ModuleType:
    try:
        return import_module("h5py")
    except ImportError:
        raise OptionError(
            "LSTMVis reads HDF5, and h5py is not installed", 'pip install "unrolled[hdf5]"'
        ) from None
