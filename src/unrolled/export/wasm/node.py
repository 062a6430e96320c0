"""A model in WebAssembly, run by node: what proves that it computes the same."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
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
        kind = described["reads"].removesuffix("Array").lower()
        numbers = np.frombuffer(self._said_of(x.numpy().astype(kind)), np.float32).copy()
        shape = (-1,) if described["pooled"] else (len(x), described["outputs"])
        return torch.from_numpy(numbers).reshape(shape)

    def scores_after(self, read: NDArray[Any], words: Sequence[int]) -> Tensor:
        """Return the scores after each of several words, (T, V), that follow what is read."""
        said = self._said_of(read, {"words": [*words]})
        scores = torch.from_numpy(np.frombuffer(said, np.float32).copy())
        return scores.reshape(len(words), self._description["outputs"])

    def words_of(self, read: NDArray[Any], most: int) -> list[int]:
        """Return the words that are written after what is read, at most `most`."""
        words: list[int] = np.frombuffer(self._said_of(read, {"most": most}), np.int32).tolist()
        return words

    def _said_of(self, numbers: NDArray[Any], wanted: dict[str, Any] | None = None) -> bytes:
        """Return what is said of numbers, or of words that follow them, or the words that do."""
        process = self._process
        assert process.stdin
        assert process.stdout
        read = np.ascontiguousarray(numbers).tobytes()
        line = json.dumps({"read": base64.b64encode(read).decode(), **(wanted or {})})
        try:
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass
        line = process.stdout.readline()
        if not line:
            raise RunError("node ended while it ran the model", "node 16.4 and later can run it")
        return base64.b64decode(line)


@contextmanager
def running_in_node(scripts: Mapping[str, str], description: dict[str, Any]) -> Iterator[_Node]:
    """Run a model in node.

    Args:
        scripts: unrolled.js and writing.js, by name.
        description: Of the model.
    """
    node = shutil.which("node")
    assert node
    with TemporaryDirectory() as folder:
        for name, script in scripts.items():
            Path(folder, name).with_suffix(".mjs").write_text(script, encoding="utf-8")
        Path(folder, "model.json").write_text(json.dumps(description), encoding="utf-8")
        runner = Path(__file__).with_name("web") / "check.mjs"
        command = [node, str(runner), folder]
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
