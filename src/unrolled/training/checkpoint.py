"""Checkpoints and weights as files: written whole or not at all, read without executing code.

Not here: what a checkpoint contains (`trainer.py`).
"""

import io
import random
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from unrolled.data.files import write_atomically
from unrolled.errors import PROGRAM, RunError
from unrolled.training.run import FORMAT, writing

__all__ = [
    "load_checkpoint",
    "load_weights",
    "random_state",
    "restore_random_state",
    "save_checkpoint",
    "save_weights",
]


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write `content`: tensors, numbers, strings, None, and dicts, lists and tuples of them."""
    buffer = io.BytesIO()  # torch.save says of a full disk "unexpected pos 768 vs 662"
    torch.save({"format": FORMAT, **content}, buffer)
    with writing(path), write_atomically(path) as file:
        file.write(buffer.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return what `save_checkpoint` wrote, all tensors on the CPU.

    Raises:
        RunError: The file is missing, damaged, holds more than plain data, or is of another format.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RunError(f"{path}: no such file") from error
    except Exception as error:  # torch.load has no exception of its own for a damaged file
        hint = f"{path.parent}/weights.safetensors still holds the best weights"
        raise RunError(f"{path}: damaged, or not a checkpoint", hint) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RunError(f"{path}: not a checkpoint of format {FORMAT}")
    return content


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the model's `state_dict` as safetensors."""
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with writing(path), write_atomically(path) as file:
        file.write(safetensors.torch.save(tensors))


def load_weights(path: Path, model: nn.Module) -> None:
    """Fill `model` with what `save_weights` wrote.

    Raises:
        RunError: The file is missing, damaged, or holds the weights of another model.
    """
    try:
        tensors = safetensors.torch.load_file(path)
        model.load_state_dict(tensors)
    except FileNotFoundError as error:
        hint = "it is written at the first evaluation: let the run go on with "
        hint += f"`{PROGRAM} resume {shlex.quote(str(path.parent))}`"
        raise RunError(f"{path}: no such file", hint) from error
    except SafetensorError as error:
        raise RunError(f"{path}: damaged: {error}") from error
    except RuntimeError as error:  # load_state_dict's
        raise RunError(f"{path}: weights of another model than config.json's") from error


def random_state() -> dict[str, Any]:
    """Return the states of the global random generators of torch, numpy and python."""
    numpy_state: Any = np.random.get_state()
    _, keys, *rest = numpy_state
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": (torch.from_numpy(keys.astype(np.int64)), *rest),
        "python": random.getstate(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Set the global random generators to what `random_state` returned."""
    keys, *rest = state["numpy"]
    torch.set_rng_state(state["torch"])
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))
    random.setstate(state["python"])
    if "cuda" in state:
        torch.cuda.set_rng_state_all(state["cuda"])
