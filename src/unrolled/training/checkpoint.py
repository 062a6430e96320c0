"""Checkpoints and weights as files: written whole or not at all, read without executing code.

Both have a checksum inside, so that no second file could be of another moment. That of a checkpoint
stands at its end, that of weights among their metadata, where other programs pass it over. Files
without one, of older versions or other programs, are read as they are.

Not here: what a checkpoint contains (`trainer.py`), and whether a run can go on from it
(`continuing.py`).
"""

import io
import json
import os
import random
import re
import shlex
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from unrolled.data.files import open_plain, parse_json, read_plain, write_atomically
from unrolled.errors import PROGRAM, RunError
from unrolled.training.run import FORMAT, Run, changed, reading, writing

__all__ = [
    "load_checkpoint",
    "load_weights",
    "of_another_model",
    "of_another_run",
    "random_state",
    "read_log_mark",
    "read_weights",
    "require_checkpoint",
    "require_finite",
    "restore_random_state",
    "save_checkpoint",
    "save_weights",
    "weight_shapes",
]

_NO_CHECKSUM = "0" * 64  # what the weights' metadata have while their checksum is computed
_CHECKSUM = re.compile(rb'"sha256":"([0-9a-f]{64})(?: of ([0-9a-f]{64}))?(?: at (\d+))?"')
_SEAL = re.compile(rb'([0-9a-f]{64})"}\n')
_SEAL_LENGTH = 67
_ZIP_END = b"PK\5\6"  # of torch's file, 22 bytes before its end
_LONGEST_HEADER = 100_000_000  # of weights, in bytes: safetensors' own limit
_ACCELERATORS = ("cuda", "xpu")  # of which a computer may have several
_LOG_MARK = ("log_length", "log_sha256")
_DAMAGED = "put back an earlier copy, or train again"


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write `content`: tensors, numbers, strings, None, and dicts, lists and tuples of them.

    After torch's file there is a line of JSON, with the checksum of all that is before it.
    """
    buffer = io.BytesIO()  # torch.save says of a full disk "unexpected pos 768 vs 662"
    torch.save({"format": FORMAT, **content}, buffer)
    mark = {name: content[name] for name in _LOG_MARK if name in content}
    buffer.write(b"\n" + json.dumps({**mark, "sha256": ""}).encode().removesuffix(b'"}'))
    seal = sha256(buffer.getbuffer()).hexdigest().encode() + b'"}\n'
    with writing(path), write_atomically(path) as file:
        file.write(buffer.getbuffer())
        file.write(seal)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return what `save_checkpoint` wrote, all tensors on the CPU.

    Raises:
        RunError: The file is missing, damaged, holds more than plain data, or is of another format.
    """
    hint = _what_is_left(path.parent)
    try:
        with reading(path, hint):
            data = read_plain(path)
    except RunError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise RunError(f"{path}: no such file", hint) from error
        raise
    seal = _SEAL.fullmatch(data[-_SEAL_LENGTH:])
    if seal and sha256(memoryview(data)[:-_SEAL_LENGTH]).hexdigest().encode() != seal[1]:
        raise RunError(changed(path).message, hint)
    try:
        if not seal and data[-22:-18] != _ZIP_END:
            raise ValueError("cut")
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load has no exception of its own for a damaged file
        raise RunError(f"{path}: damaged, or not a checkpoint", hint) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RunError(f"{path}: not a checkpoint of format {FORMAT}", hint)
    return content


def require_checkpoint(run: Run) -> None:
    """Raise `RunError` if a run that was trained has lost its checkpoint.

    A run that was killed before its first checkpoint has none: it begins at the start.
    """
    with reading(run.path):
        if os.path.lexists(run.checkpoint_path):
            return
        log = run.metrics_path
        was_measured = os.path.lexists(log) and log.lstat().st_size > 0
        others = (run.weights_path, run.results_path)
        if not was_measured and not any(map(os.path.lexists, others)):
            return
    raise RunError(f"{run.checkpoint_path}: no such file", _what_is_left(run.path))


def _what_is_left(folder: Path) -> str:
    """Return what can still be done with a run whose checkpoint cannot be used."""
    if not Run(folder).weights_path.is_file():
        return _DAMAGED
    command = f"{PROGRAM} predict {shlex.quote(str(folder))} -"
    return f"put back an earlier copy; the best weights are still there, for `{command}` and others"


def read_log_mark(path: Path) -> tuple[int, str] | None:
    """Return how long metrics.jsonl was at a checkpoint, in bytes, and the SHA-256 of those.

    Only the end of the file is read. None where there is no checkpoint, or one without a mark.
    """
    try:
        with open_plain(path) as file:
            file.seek(-min(400, file.seek(0, os.SEEK_END)), os.SEEK_END)
            mark = json.loads(file.read().splitlines()[-1])
        return int(mark["log_length"]), str(mark["log_sha256"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def save_weights(
    path: Path,
    weights: nn.Module | Mapping[str, Tensor],
    run: str | None = None,
    update: int | None = None,
) -> None:
    """Write weights as safetensors.

    Args:
        path: The file.
        weights: A model's `state_dict`, or the model.
        run: The identity of its run, `Run.identity`; None for a model without one.
        update: That they are of; None where it is not known.
    """
    tensors = weights.state_dict() if isinstance(weights, nn.Module) else weights
    of_run = "" if run is None else f" of {run}"
    at_update = "" if update is None else f" at {update}"
    # one entry, as several come in an order that is not the same in every process
    metadata = {"sha256": f"{_NO_CHECKSUM}{of_run}{at_update}"}
    contiguous = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    data = safetensors.torch.save(contiguous, metadata)
    match = _checksum_in(data)
    assert match is not None
    start, end = match.span(1)
    with writing(path), write_atomically(path) as file:
        file.write(data[:start])
        file.write(sha256(data).hexdigest().encode())
        file.write(memoryview(data)[end:])


def load_weights(path: Path, model: nn.Module, run: str | None = None) -> int | None:
    """Fill `model` with what `save_weights` wrote, and return the update that they are of.

    Args:
        path: The file.
        model: What is filled.
        run: The identity of the run that it should be of; None for any.

    Returns:
        None where the file does not say it: of an older version, or another program.

    Raises:
        RunError: The file is missing, damaged, or holds the weights of another model or run, or
            numbers that are not finite.
    """
    tensors, update = read_weights(path, run)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise of_another_model(path) from error
    return update


def of_another_model(path: Path) -> RunError:
    """Return the error of weights that are not of the model that config.json describes."""
    message = f"{path}: weights of another model than config.json and vocabulary.json describe"
    return RunError(message, "put back the files as the run left them, or train again")


def weight_shapes(path: Path) -> dict[str, list[int]] | None:
    """Return the shapes of weights by their names, without reading the numbers.

    None where they cannot be told; `load_weights` says why.
    """
    try:
        with open_plain(path) as file:
            length = min(int.from_bytes(file.read(8), "little"), _LONGEST_HEADER)
            header = parse_json(file.read(length))
        return {name: each["shape"] for name, each in header.items() if name != "__metadata__"}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def of_another_run(path: Path) -> RunError:
    """Return the error of a file that another run has left."""
    message = f"{path}: of another run, with other data, another cell or another seed"
    return RunError(message, "put back the file as this run left it, or train again")


def read_weights(path: Path, run: str | None) -> tuple[dict[str, Tensor], int | None]:
    """Return the tensors that `save_weights` wrote, and the update that they are of.

    Raises:
        RunError: As `load_weights` does.
    """
    try:
        with reading(path, _DAMAGED):
            data = read_plain(path)
    except RunError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            hint = "it is written at the first evaluation: let the run go on with "
            hint += f"`{PROGRAM} resume {shlex.quote(str(path.parent))}`"
            raise RunError(f"{path}: no such file", hint) from error
        raise
    match = _checksum_in(data)
    if match is not None:
        view, (start, end) = memoryview(data), match.span(1)
        digest = sha256(view[:start])
        digest.update(_NO_CHECKSUM.encode())
        digest.update(view[end:])
        if digest.hexdigest().encode() != data[start:end]:
            raise RunError(changed(path).message, _DAMAGED)
        if run is not None and match[2] is not None and match[2].decode() != run:
            raise of_another_run(path)
    try:
        tensors = safetensors.torch.load(data)
        if match is None and _has_damaged_checksum(data):
            raise ValueError("its checksum was damaged")
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise RunError(f"{path}: damaged: {error}", _DAMAGED) from error
    require_finite(path, tensors, _DAMAGED)
    update = None if match is None or match[3] is None else int(match[3])
    return tensors, update


def _header_end(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


def _has_damaged_checksum(data: bytes) -> bool:
    """Whether metadata are neither ours nor those that other programs write, {"format": "pt"}."""
    head = data[: _header_end(data)]
    return b'"__metadata__"' in head and b'"__metadata__":{"format":"pt"}' not in head


def _checksum_in(data: bytes) -> re.Match[bytes] | None:
    """Return where weights have their checksum, and the identity of their run if they have one."""
    return _CHECKSUM.search(data, 8, min(_header_end(data), len(data)))


def require_finite(path: Path, tensors: Mapping[str, Tensor], hint: str) -> None:
    """Raise `RunError` if a number is infinite or not a number."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise RunError(f"{path}: {name} has numbers that are infinite or not a number", hint)


def random_state() -> dict[str, Any]:
    """Return the states of the global random generators of torch, numpy and python.

    Of cuda and xpu, where this process has used them, those of all devices; of mps, where it is.
    """
    numpy_state: Any = np.random.get_state()
    _, keys, *rest = numpy_state
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": (torch.from_numpy(keys.astype(np.int64)), *rest),
        "python": random.getstate(),
    }
    for kind in _ACCELERATORS:
        module = torch.get_device_module(kind)
        if module.is_available() and module.is_initialized():
            state[kind] = module.get_rng_state_all()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Set the global random generators to what `random_state` returned.

    The state of a device that is not here is left out: the run then draws other numbers, and its
    surroundings say that the device is another.
    """
    keys, *rest = state["numpy"]
    torch.set_rng_state(state["torch"])
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))
    random.setstate(state["python"])
    for kind in _ACCELERATORS:
        module = torch.get_device_module(kind)
        if kind in state and module.is_available():
            for number, each in enumerate(state[kind][: module.device_count()]):
                module.set_rng_state(each, number)
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])
