"""What modules become in C, and which ones would be something else there: they are refused."""

import copy
import ctypes
import errno
import json
import math
import os
import shutil
import subprocess

import pytest
import torch
from torch import nn, sigmoid, tanh
from torch.nn.utils.parametrizations import weight_norm

import unrolled
from unrolled.cells.catalogue import CATALOGUE
from unrolled.data.words import BEGIN, END, UNKNOWN
from unrolled.errors import OptionError, RunError
from unrolled.export import folder as export_folder
from unrolled.export import to_c
from unrolled.export.c import proof
from unrolled.export.c.interface import Interface, check_modules, program_text
from unrolled.export.c.program import program_of
from unrolled.export.c.source import Source
from unrolled.kernels import find_compiler
from unrolled.networks.decoder import Decoder, DecoderConfig
from unrolled.networks.memoryless import Conv, Dense
from unrolled.networks.options import LayerOptions
from unrolled.tasks import prepare
from unrolled.tasks.graphs import Chain, WordChain, Writing
from unrolled.tasks.tag import DataOptions, ModelOptions, TagTask, TrainingOptions
from unrolled.wrappers import LockedDropout, Residual, Stacked, drop_recurrent_weights

STRICT = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-Wconversion", "-Wshadow")

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="needs a C compiler")


@pytest.fixture(autouse=True)
def strictly(monkeypatch):
    """Prove what compiles without a warning, and without the optimisation that takes longest.

    The numbers are the same.
    """
    monkeypatch.setattr(proof, "_C99", (*proof._C99, *STRICT, "-O1"))
    torch.manual_seed(0)


def cell_of(slope):
    @unrolled.cell(gates="f g")
    def namesake(x, u, h):
        f = sigmoid(x.f + u.f)
        return dict(h=f * h + (1 - f) * tanh(slope * (x.g + u.g)))

    return namesake


MODELS = {
    "cells of one name": lambda: [
        unrolled.Recurrent(cell_of(0.5), 3, 4),
        unrolled.Recurrent(cell_of(2.5), 4, 4),
    ],
    "sequential in sequential": lambda: nn.Sequential(
        nn.Sequential(nn.Embedding(5, 2), nn.Linear(2, 3)), unrolled.LSTM(3, 3)
    ),
    "float64": lambda: [nn.Linear(3, 4).double(), unrolled.GRU(4, 4), nn.Linear(4, 2).double()],
    "stacked": lambda: Stacked(
        [unrolled.LSTM(3, 4), LockedDropout(0.5), Residual(unrolled.GRU(4, 4)), nn.Tanh()]
    ),
    "residual tcn": lambda: [Residual(unrolled.TCN(4, 4, num_layers=2)), nn.Linear(4, 2)],
    "weight norm": lambda: [
        weight_norm(unrolled.LSTM(3, 4), "weight_hh_l0"),
        weight_norm(nn.Linear(4, 4)),
    ],
    "dense": lambda: [
        nn.Embedding(7, 3),
        Dense(3, 9, num_layers=2, dropout=0.5),
        unrolled.GRU(9, 5),
    ],
    "conv": lambda: [unrolled.LSTM(3, 5), Conv(5, 2, num_layers=2, kernel_size=4), Dense(2, 6)],
    "dropped weights": lambda: drop_recurrent_weights(unrolled.LSTM(3, 4), 0.5),
}


@pytest.mark.parametrize("name", MODELS)
def test_modules_are_the_same_in_c_and_stay_as_they_were(name, tmp_path):
    modules = MODELS[name]()
    for each in modules if isinstance(modules, list) else [modules]:
        each.eval()
    before = copy.deepcopy(modules)
    written = to_c(modules, tmp_path / "c", weights="int8", check=True)
    assert written.proof.difference < 1e-6 < written.proof.of_rounding
    after = to_c(before, tmp_path / "again", weights="int8")
    assert after.source.read_bytes() == written.source.read_bytes()


def test_cells_that_multiply_what_they_compute_compile_without_a_warning(tmp_path):
    cells = {name: CATALOGUE[name] for name in ("gru3", "lru", "miru2", "gru1")}
    for name, cell in cells.items():
        to_c(unrolled.Recurrent(cell, 3, 4), tmp_path / name, name=f"{name}_")
    sources = map(str, tmp_path.glob("*/*.c"))
    argv = [*find_compiler().argv, *STRICT, "-c", *sources]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len([*tmp_path.glob("*.o")]) == len(cells)


@pytest.mark.parametrize(
    ("options", "weights", "function"),
    [
        ({"crf": True}, "f32", "_run(model *m, int32_t steps, const int32_t *in"),
        ({"delay": 0, "crf": False}, "f32", "_step(model *m, int32_t token"),
        ({"delay": 2, "cell": "tcn"}, "f32", "_step(model *m, const model_word *word"),
        (
            {"letter_size": 3, "affix_size": 2},
            "int8",
            "_run(model *m, int32_t steps, const model_word",
        ),
        ({"letter_size": 3, "delay": 1, "num_layers": 2}, "f32", "const int32_t *letters;"),
    ],
)
def test_a_tagger_is_the_same_in_c(options, weights, function, tmp_path):
    words = ["o", "gato", "dorme", "bem"]
    sentences = [
        "".join(f"{words[(n + k) % 4]} T{(n + k) % 3}\n" for k in range(1 + n % 5))
        for n in range(60)
    ]
    (tmp_path / "tags.conll").write_text("\n".join(sentences))
    sizes = {"hidden_size": 5, "embedding_size": 4, "letter_size": 0, "affix_size": 0}
    prepare(
        TagTask,
        DataOptions(file=str(tmp_path / "tags.conll")),
        tmp_path / "run",
        model=ModelOptions(**(sizes | options)),
        training=TrainingOptions(epochs=1),
    ).trainer.fit()
    written = to_c(tmp_path / "run", tmp_path / "c", weights=weights, check=True)
    assert written.proof.difference < 1e-6
    assert written.proof.num_rows > 3
    transitions = json.loads((tmp_path / "c" / "model.json").read_text()).get("transitions")
    assert (transitions is not None) == options.get("crf", True)
    assert function in written.header.read_text()


def test_words_are_written_until_the_end_or_the_limit_and_none_of_what_is_not_there():
    config = DecoderConfig(9, 3, LayerOptions(hidden_size=4), attention="additive", memory_size=3)
    torch.manual_seed(0)
    encoder = (nn.Linear(2, 3),)
    writing = Writing(encoder, None, "mean", Decoder(config).eval())
    program = program_of(writing, "model", "f32")
    floats, words = ctypes.c_float * program.output_size, ctypes.c_int32 * 6
    with proof._compiled(program) as compiled:
        scores, room, count = floats(), (ctypes.c_float * 100)(), ctypes.c_int32()
        write = compiled._function("write")

        def written(word, temperature, most, seed=1):
            """Return what `write` returns, and words in room that is filled with -7."""
            out = words(*[-7] * 6)
            random = ctypes.byref(ctypes.c_uint32(seed))
            given = (ctypes.c_int32(word), ctypes.c_float(temperature), random)
            more = (ctypes.c_int32(most), out, ctypes.byref(count), room, scores)
            return write(compiled._model, *given, *more), [*out]

        assert written(BEGIN, 0.0, 5)[0] == -1  # nothing was read
        read = ctypes.c_float * 4
        compiled.call("read", ctypes.c_int32(2), read(0.1, 0.2, 0.3, 0.4), room)
        for most in (-1, 0, 1, 5):
            for seed in range(50):
                result, got = written(BEGIN, 1e20 if seed % 2 else 1.0, most, seed)
                assert result == 0
                assert count.value <= max(0, most)
                assert got[count.value :] == [-7] * (6 - count.value)
                assert not {UNKNOWN, BEGIN, END} & {*got[: count.value]}
        for word, temperature in ((9, 0.0), (-1, 0.0), (BEGIN, math.nan), (BEGIN, 1e30)):
            assert written(word, temperature, 5) == (-1, [-7] * 6)
            assert count.value == 0
        assert written(END, 0.0, 5) == (0, [-7] * 6)
        compiled.call("read", ctypes.c_int32(2), read(math.nan, 0, 0, 0), room)
        assert written(BEGIN, 0.0, 5) == (-1, [-7] * 6)


def compiles_strictly(source):
    argv = [*find_compiler().argv, *STRICT, "-c", source.name]
    done = subprocess.run(argv, cwd=source.parent, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_leaves_no_half_of_it(tmp_path, monkeypatch):
    real = export_folder.write_atomically

    def write(path):
        if path.suffix == ".h":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path)

    monkeypatch.setattr(export_folder, "write_atomically", write)
    with pytest.raises(RunError, match="No space left"):
        to_c(nn.Linear(3, 4), tmp_path / "c")
    assert not [*tmp_path.iterdir()]


class Doubling(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


class Halving(nn.Identity):
    def forward(self, x):
        return x / 2


def hooked():
    model = nn.Sequential(nn.Linear(3, 4))
    model.register_forward_hook(lambda _module, _given, result: 2 * result)
    return model


def linear(number, dtype=torch.float32):
    layer = nn.Linear(3, 4, dtype=dtype)
    with torch.no_grad():
        layer.weight[1, 2] = number
    return layer


def without_length():
    layer = weight_norm(nn.Linear(3, 4))
    with torch.no_grad():
        layer.parametrizations.weight.original1[0] = 0.0  # 0 / 0
    return layer


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ([unrolled.LSTM(3, 4), nn.Linear(5, 2)], {}, "Linear reads 5 .* before gives 4"),
        ([nn.Embedding(9, 3), nn.Tanh(), unrolled.GRU(4, 2)], {}, "GRU reads 4 .* gives 3"),
        ([nn.Linear(3, 4), nn.Embedding(5, 2)], {}, "nothing can come before"),
        (Doubling(nn.Linear(3, 4)), {}, "Doubling has a forward of its own"),
        ([Doubling(nn.Linear(3, 4))], {}, "Doubling has a forward of its own"),
        ([nn.Linear(3, 4), Halving()], {}, "Halving has a forward of its own"),
        (hooked(), {}, "Sequential has hooks"),
        ([nn.Linear(3, 4), nn.Dropout(1)], {}, "Dropout is in training mode"),
        (Stacked([unrolled.GRU(3, 4), LockedDropout(0.5)]), {}, "Stacked is in training mode"),
        (Residual(unrolled.GRU(4, 2, bidirectional=True)), {}, "Residual around a layer"),
        (linear(1e300, torch.float64), {}, r"weight of 1e\+300, which no float32 can be"),
        (linear(3.4e38), {"weights": "bf16"}, r"weight of 3.399\S*, which no bf16 can be"),
        (without_length(), {}, "weight of nan, which no float32 can be"),
        *((nn.Linear(3, 4), {"name": name}, "a name that C can have")
          for name in ("class", "linux", "size_t", "bool", "exp", "tanhf", "y0")),
    ],
)  # fmt: skip
def test_what_would_compute_something_else_in_c_is_refused(model, options, message, tmp_path):
    with pytest.raises(OptionError, match=message):
        to_c(model, tmp_path / "c", **options)
    assert not [*tmp_path.iterdir()]


def test_numbers_that_c_cannot_hold_or_count_are_refused_in_a_line():
    many = torch.zeros(1).expand(2**31)[None]
    with pytest.raises(OptionError, match=r"a matrix of the model has 2,147,483,648 numbers"):
        Source("f32").matrix("name", many)
    source = Source("f32")
    source.state(2**29)
    with pytest.raises(OptionError, match=r"an instance would have 2,147,\d+,\d+ bytes, over 2 GB"):
        program_text("model", source, Interface([], [], []))
    spread = nn.Linear(3, 4)
    spread.register_buffer("spread", torch.tensor([torch.nan]))
    with pytest.raises(OptionError, match=r"Linear\.spread has NaN"):
        check_modules(spread)
    decoder = Decoder(DecoderConfig(9, 3, LayerOptions(hidden_size=4)))
    with torch.no_grad():
        decoder.bridge.linear.bias[1] = torch.inf
    writing = Writing((nn.Embedding(5, 3), unrolled.GRU(3, 3)), 5, "ends", decoder)
    with pytest.raises(OptionError, match=r"Decoder\.bridge\.linear\.bias has infinity"):
        program_of(writing, "model", "f32")


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a compiler of C++")
def test_the_headers_of_all_kinds_are_c_plus_plus(tmp_path):
    config = DecoderConfig(9, 3, LayerOptions(hidden_size=4), attention="additive", memory_size=3)
    kinds = {
        "gru": Chain((unrolled.GRU(3, 4),)),
        "whole": Chain((unrolled.GRU(3, 4, bidirectional=True),)),
        "letters": Chain((nn.Embedding(5, 3), nn.Linear(3, 5)), 5, writes=True),
        "words_": WordChain((nn.Embedding(5, 3),), None, None, 9, torch.ones(3), 2, (nn.Tanh(),)),
        "writing": Writing((nn.Embedding(5, 3),), 5, "mean", Decoder(config)),
    }
    for name, parts in kinds.items():
        program = program_of(parts, name, "f32")
        (tmp_path / f"{name}.h").write_text(program.header)
        (tmp_path / f"{name}.c").write_text(program.text)
        compiles_strictly(tmp_path / f"{name}.c")
    (tmp_path / "all.cc").write_text("".join(f'#include "{name}.h"\n' for name in kinds))
    argv = ["c++", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    done = subprocess.run(
        [*argv, "-fsyntax-only", "all.cc"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert all('extern "C" {' in (tmp_path / f"{name}.h").read_text() for name in kinds)
