"""Whole models as plain C, built for several processors, run there, and held against themselves.

    python benchmarks/export_c_kinds.py [--write docs/export.md]

A small run with random weights of each kind is made of made-up data, and what `unrolled export --c
--check` does with the C that it compiles here is done with C that is compiled for each target whose
compiler is on PATH, and run by qemu's user mode: figures are the greatest difference to the model
in torch on what was held out. Words that are written must be Python's. Code is for a Cortex-M4 with
-Os, without weights; weights and an instance are bytes.
"""

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from export_c_table import FLAGS, TARGETS
from PIL import Image

from unrolled.export.c.program import Program, program_of
from unrolled.export.c.proof import prove_run
from unrolled.tasks import find_task, options_of, prepare

BEGIN, END = "<!-- table of kinds:begin -->\n", "<!-- table of kinds:end -->\n"
SMALL = ("arm-linux-gnueabihf-gcc", "-mthumb", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16")
WORDS = ("zero", "one", "two", "three", "four", "five")
LAYER = {"hidden_size": 16, "num_layers": 1}


def made_up(folder: Path) -> dict[str, tuple[str, dict[str, Any], dict[str, Any]]]:
    """Write data; return the task, its data and its model of each kind."""
    pairs = [(a, b) for a in WORDS for b in WORDS]
    numbers = np.random.default_rng(0)
    rows = [f"{a} {b} is,{'good' if a < b else 'bad'}" for a, b in pairs]
    (folder / "texts.csv").write_text("\n".join(["text,class", *rows, ""]))
    (folder / "pairs.tsv").write_text("".join(f"{a} and {b}\t{b} et {a}\n" for a, b in pairs))
    rows = []
    for number in range(24):
        pixels = numbers.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{'ab'[number % 2]},picture {WORDS[number % 6]}")
    (folder / "pictures.csv").write_text("\n".join(["file,class,words", *rows, ""]))
    rows = [f"{n % 7 + n / 10},{50 - n % 5},{n % 3}" for n in range(60)]
    (folder / "sales.csv").write_text("\n".join(["sales,cost,promo", *rows, ""]))
    texts = {"files": (f"{folder}/texts.csv",), "input": ("text",), "target": "class"}
    seen = {"files": (f"{folder}/pictures.csv",), "media": "file", "target": "class"}
    told = {"file": f"{folder}/pictures.csv", "media": "file", "text": "words"}
    size = {"picture_size": 16}
    both = {"file": f"{folder}/pairs.tsv", "tokens": "word", "test": 0.1, "held_out": 0.2}
    sales = {"file": f"{folder}/sales.csv", "target": ("sales",), "horizon": 4, "lookback": 9}
    sales |= {"held_out": 0.3, "test": 0.0}
    beside = sales | {"past": ("cost",), "known": ("promo",)}
    return {
        "classifier of texts": ("classify", texts, {"bidirectional": True}),
        "classifier of pictures": ("classify", seen | size, {"channels": 4}),
        "translator": ("translate", both, {"attention": "additive"}),
        "translator, delay of 3": ("translate", both, {"delay": 3}),
        "captioner of pictures": ("caption", told | size, {"channels": 4}),
        "forecaster, direct": ("forecast", beside, {"loss": "quantile"}),
        "forecaster, encoder-decoder": ("forecast", beside, {"method": "encoder-decoder"}),
        "forecaster, recursive": ("forecast", sales, {"method": "recursive", "loss": "mse"}),
    }


class Remote:
    """A model that another processor runs, one process for each row."""

    def __init__(self, program: Program, folder: Path, target: str) -> None:
        self._program, self._folder = program, folder
        self._compiler, self._runner = TARGETS[target]
        (folder / "model.h").write_text(program.header)
        (folder / "model.c").write_text(program.text)

    def _said(self, lines: Sequence[str], given: Sequence[np.ndarray], dtype: Any) -> np.ndarray:
        """Return what a main of these lines writes, which reads what is given."""
        reads = [
            f"  static {kind} a{n}[{max(1, each.size)}]; "
            f"if (fread(a{n}, sizeof a{n}[0], {each.size}, stdin) != {each.size}) return 1;"
            for n, (each, kind) in enumerate((each, _KINDS[each.dtype.type]) for each in given)
        ]
        body = "\n".join([*reads, "  static model m;", "  model_init(&m);", *lines])
        text = (
            f'#include <stdio.h>\n#include "model.h"\nint main(void) {{\n{body}\n  return 0;\n}}\n'
        )
        main_c, program = self._folder / "main.c", self._folder / "main"
        if not (main_c.exists() and main_c.read_text() == text and program.exists()):
            main_c.write_text(text)
            sources = ["main.c", "model.c", "-o", "main", "-lm"]
            argv = [*self._compiler, *FLAGS, "-O2", *sources]
            subprocess.run(argv, cwd=self._folder, check=True)
        read = b"".join(np.ascontiguousarray(each).tobytes() for each in given)
        done = subprocess.run([*self._runner, program], input=read, capture_output=True, check=True)
        return np.frombuffer(done.stdout, dtype)

    def _room(self, read: np.ndarray) -> str:
        program = self._program
        steps = 1 if program.grid is not None else len(read)
        return f"  static float room[{max(1, program.room * steps)}];"

    def run(self, x: torch.Tensor) -> torch.Tensor:
        """Return what is said of one sequence, or of a picture."""
        program = self._program
        kind = np.int32 if program.num_tokens is not None else np.float32
        read = x.numpy().astype(np.uint8 if program.grid is not None else kind)
        shape = (program.output_size,) if program.is_pooled else (len(read), program.output_size)
        size = int(np.prod(shape))
        steps = "" if program.grid is not None else f"{len(read)}, "
        room = ", room" if program.room else ""
        lines = [
            *([self._room(read)] if room else []),
            f"  static float out[{size}];",
            f"  if (model_run(&m, {steps}a0, out{room}) != 0) return 1;",
            f"  fwrite(out, sizeof out[0], {size}, stdout);",
        ]
        return torch.from_numpy(self._said(lines, [read], np.float32).copy()).reshape(shape)

    def _reading(self, read: np.ndarray) -> list[str]:
        steps = "" if self._program.grid is not None else f"{len(read)}, "
        return [self._room(read), f"  if (model_read(&m, {steps}a0, room) != 0) return 1;"]

    def scores_after(self, read: np.ndarray, words: Sequence[int]) -> torch.Tensor:
        """Return the scores after each of several words, (T, V), that follow what is read."""
        size, room = self._program.output_size, "room, " if self._program.places[1] else ""
        lines = [
            *self._reading(read),
            f"  static float out[{size}];",
            f"  for (int t = 0; t < {len(words)}; t++) {{",
            f"    if (model_step(&m, a1[t], {room}out) != 0) return 1;",
            f"    fwrite(out, sizeof out[0], {size}, stdout);",
            "  }",
        ]
        said = self._said(lines, [read, np.array(words, np.int32)], np.float32)
        return torch.from_numpy(said.copy()).reshape(len(words), size)

    def words_of(self, read: np.ndarray, most: int) -> list[int]:
        """Return the words that are written after what is read, at most `most`."""
        room = "room, " if self._program.places[1] else ""
        arguments = f"&m, MODEL_BEGIN, 0.0f, &random, {most}, words, &count, {room}scores"
        lines = [
            *self._reading(read),
            f"  static int32_t words[{most}], count; static uint32_t random = 1;",
            f"  static float scores[{self._program.output_size}];",
            f"  if (model_write({arguments}) != 0) return 1;",
            "  fwrite(words, sizeof words[0], (size_t)count, stdout);",
        ]
        return self._said(lines, [read], np.int32).tolist()

    def answer(self, given: Sequence[torch.Tensor], shape: Sequence[int]) -> torch.Tensor:
        """Return what is said of several tensors, as doubles of a shape."""
        size = int(np.prod(shape))
        arrays = [each.numpy() for each in given]
        arguments = ", ".join(f"a{n}" for n in range(len(arrays)))
        lines = [
            f"  static double out[{size}];",
            f"  if (model_run(&m, {arguments}, out) != 0) return 1;",
            f"  fwrite(out, sizeof out[0], {size}, stdout);",
        ]
        said = self._said(lines, arrays, np.float64)
        return torch.from_numpy(said.copy()).reshape(*shape)


_KINDS = {
    np.int32: "int32_t",
    np.float32: "float",
    np.float64: "double",
    np.uint8: "uint8_t",
}


@contextmanager
def remote(program: Program, target: str) -> Iterator[Remote]:
    with tempfile.TemporaryDirectory() as folder:
        yield Remote(program, Path(folder), target)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    targets = [name for name, (c, run) in TARGETS.items() if all(map(shutil.which, (c[0], *run)))]
    heads = ["model", *targets, "code, bytes", "weights", "instance"]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    with tempfile.TemporaryDirectory() as folder:
        for name, (task, data, model) in made_up(Path(folder)).items():
            cells = measure(task, data, model, Path(folder) / name.replace(" ", "-"), targets)
            lines.append(f"| {name} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    if arguments.write:
        text = arguments.write.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        table = "\n".join([*lines, ""])
        after = rest.partition(END)[2]
        arguments.write.write_text(before + BEGIN + table + END + after, encoding="utf-8")


def measure(
    task: str, data: dict[str, Any], model: dict[str, Any], path: Path, targets: Sequence[str]
) -> list[str]:
    options = options_of(task)
    prepared = prepare(
        find_task(task),
        options.DataOptions(**data),
        path,
        model=options.ModelOptions(**LAYER, **model),
        training=options.TrainingOptions(epochs=1, seed=1),
    )
    torch.manual_seed(1)
    network = prepared.trainer.model.eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(2).add_(0.1 * torch.randn_like(weight))
    graphs = prepared.task.graphs(network)
    program = program_of(graphs.parts(), "model", "f32")
    examples = prepared.splits.held_out
    proofs = [
        prove_run(program, graphs, examples, "f32", remote(program, target)) for target in targets
    ]
    cells = [f"{proof.difference:.1e}" for proof in proofs]
    return [*cells, *map("{:,}".format, (code_of(program), program.num_bytes, program.instance))]


def code_of(program: Program) -> int:
    """Return the bytes of code for a Cortex-M4."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.h").write_text(program.header)
        Path(folder, "model.c").write_text(program.text)
        argv = [*SMALL, *FLAGS, "-Os", "-c", "model.c", "-o", "model.o"]
        subprocess.run(argv, cwd=folder, check=True)
        size = [SMALL[0].replace("gcc", "size"), "-A", "model.o"]
        said = subprocess.run(size, cwd=folder, check=True, capture_output=True, text=True).stdout
        sections = [line.split()[:2] for line in said.splitlines() if line.startswith(".text")]
        return sum(int(bytes_) for _, bytes_ in sections)


if __name__ == "__main__":
    main()
