"""A model in WebAssembly, run by node: what proves that it computes the same."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.errors import RunError

__all__ = ["has_node", "running_in_node"]


def has_node() -> bool:
    """Whether there is node, which runs what is checked."""
    return shutil.which("node") is not None


class _Node:
    def __init__(self, process: "subprocess.Popen[str]", description: dict[str, Any]) -> None:
        self._process, self._description = process, description

    def answer(self, given: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
        """Return what is said of several tensors, as doubles of a shape."""
        read = np.concatenate([each.numpy().reshape(-1) for each in given])
        return torch.from_numpy(
            np.frombuffer(self._said_of(read), np.float64).copy().reshape(shape)
        )

    def run(self, x: Tensor) -> Tensor:
        """Return what is said of one sequence, (T, O); or (O,) of the whole."""
        described = self._description
        kind = np.float32 if described["tokens"] is None else np.int32
        numbers = np.frombuffer(self._said_of(x.numpy().astype(kind)), np.float32).copy()
        shape = (-1,) if described["pooled"] else (len(x), described["outputs"])
        return torch.from_numpy(numbers).reshape(shape)

    def _said_of(self, numbers: NDArray[Any]) -> bytes:
        process = self._process
        assert process.stdin
        assert process.stdout
        read = np.ascontiguousarray(numbers).tobytes()
        try:
            process.stdin.write(f"{base64.b64encode(read).decode()}\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass
        line = process.stdout.readline()
        if not line:
            raise RunError("node ended while it ran the model", "node 16.4 and later can run it")
        return base64.b64decode(line)


@contextmanager
def running_in_node(script: str, description: dict[str, Any]) -> Iterator[_Node]:
    """Run a model in node.

    Args:
        script: unrolled.js.
        description: Of the model.
    """
    node = shutil.which("node")
    assert node
    with TemporaryDirectory() as folder:
        Path(folder, "unrolled.mjs").write_text(script, encoding="utf-8")
        Path(folder, "model.json").write_text(json.dumps(description), encoding="utf-8")
        runner = Path(__file__).with_name("web") / "check.mjs"
        command = [node, str(runner), f"{folder}/unrolled.mjs", f"{folder}/model.json"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        ) as process:
            try:
                yield _Node(process, description)
            finally:
                assert process.stdin
                with suppress(BrokenPipeError):  # of what it did not read before it ended
                    process.stdin.close()
                process.wait(60)
