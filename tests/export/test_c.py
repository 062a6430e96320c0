"""C that is written computes what the model does, with any compiler's warnings at rest."""

import ctypes
import json
import math
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from torch import nn, sigmoid, tanh

import unrolled
from support.cells import of_bessel, that_decides
from support.equations import equations, layer_of, random_cell
from unrolled.errors import OptionError, RunError
from unrolled.export import to_c
from unrolled.export.c import proof
from unrolled.export.c.model import chain_of
from unrolled.export.c.program import program_of
from unrolled.kernels import find_compiler
from unrolled.tasks import load, prepare
from unrolled.tasks.classify import ClassifyTask
from unrolled.tasks.classify import DataOptions as ClassifyData
from unrolled.tasks.classify import ModelOptions as ClassifyModel
from unrolled.tasks.classify import TrainingOptions as ClassifyTraining
from unrolled.tasks.lm import DataOptions, LanguageModelTask, ModelOptions, TrainingOptions

COMPILER = find_compiler()
DOCS = Path(__file__).parents[2] / "docs" / "export.md"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-Wconversion", "-Wshadow")

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")


@unrolled.cell(gates="f g o", states="h c")
def own(x, u, h, c, *, peephole=0.5):
    """A cell with a vector, two states, a mask, a power and a rare function."""
    f = sigmoid(x.f + u.f + peephole * c)
    g = torch.where(x.g > 0, tanh(x.g + u.g), torch.expm1(torch.clamp(x.g, max=0.0)))
    c = f * c + (1 - f) * g
    return dict(h=sigmoid(x.o + u.o) * tanh(c) - 0.1 * h**2, c=c, f=f)


@unrolled.cell(gates="a b n m k", applied="n m k", states="h c", delays="h:3")
def chained(x, u, h, h_2, h_3, c, *, scale=0.5):
    """Products of products, in four phases, and former outputs."""
    a = sigmoid(x.a + u.a + scale * h_2)
    n = tanh(x.n + u.n(a * h_3))
    m = tanh(x.m * u.m(n + h_2) + u.b)
    c = a * c + (1 - a) * tanh(u.k(m * n) + x.k)
    return dict(h=a * tanh(c + x.b) + (1 - a) * n, c=c)


@unrolled.cell(gates="a b n", applied="n", states="h c")
def summing(x, u, h, c):
    """Numbers of a row, in two phases and in both directions of a running sum."""
    a = sigmoid(x.a + u.a)
    a = a - a.mean(-1, keepdim=True)
    n = tanh(x.n + u.n(a * h * torch.amin(a * h, -1, keepdim=True)))
    m = torch.cumsum(torch.softmax(x.b + u.b, -1), -1)
    c = c * m + ((n - n.mean(-1, keepdim=True)) ** 2).mean(-1, keepdim=True) * n
    return dict(h=a * tanh(c - torch.amax(c, -1, keepdim=True)) + (1 - a) * n, c=c, m=m)


@unrolled.cell(gates="a", inputs="dt x_t")
def that_is_given(x, u, h, dt, x_t):
    return dict(h=tanh(x.a + u.a * dt) + 0.5 * x_t)


@pytest.fixture(autouse=True)
def strictly(monkeypatch):
    """Prove what compiles without a warning, and without the optimisation that takes longest.

    The numbers are the same.
    """
    monkeypatch.setattr(proof, "_C99", (*proof._C99, *STRICT, "-O1"))


LAYERS = {
    "lstm": lambda: unrolled.LSTM(3, 21),
    "gru of 2": lambda: unrolled.GRU(3, 8, num_layers=2),
    "gru reset before": lambda: unrolled.GRU(3, 17, reset="before"),
    "janet both ways": lambda: unrolled.JANET(3, 8, num_layers=2, bidirectional=True),
    "rnn relu without bias": lambda: unrolled.RNN(3, 8, nonlinearity="relu", bias=False),
    "own": lambda: unrolled.Recurrent(own, 3, 19),
    "chained": lambda: unrolled.Recurrent(chained, 3, 19),
    "summing": lambda: unrolled.Recurrent(summing, 3, 37, num_layers=2),
    "given": lambda: unrolled.Recurrent(that_is_given, 6, 6, num_layers=2),
    "given both ways": lambda: unrolled.Recurrent(that_is_given, 5, 5, bidirectional=True),
    "heads": lambda: unrolled.Recurrent(chained, 3, 20, heads=2),
    "tcn": lambda: unrolled.TCN(3, 9, num_layers=3, kernel_size=3),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_in_c_gives_the_bits_of_its_stream(name, tmp_path):
    torch.manual_seed(0)
    layer = LAYERS[name]().eval()
    written = to_c(layer, tmp_path / "c", check=True)
    assert written.proof.num_rows == 3
    assert written.proof.difference == (0.0 if is_gcc() else pytest.approx(0, abs=1e-6))
    assert sorted(p.name for p in written.source.parent.iterdir()) == ["model.c", "model.h"]


def is_gcc() -> bool:
    return "clang" not in COMPILER.version() and "zig" not in " ".join(COMPILER.argv)


# Masks, powers and functions of C's library, in four states.
MIXED = (
    "torch.tanh(torch.where(~(h >= v) | (m < 0), f.gelu(v), torch.maximum(v, m)) + h)",
    "torch.tanh(torch.hypot(u.c, 1 + m ** 2) - torch.lerp(v, m, x.b) + x.a)",
    "torch.tanh((((1 + u.a ** 2) ** -0.7) * (x.a > h)) / (2 + torch.sin(h)))",
    "torch.tanh(f.softsign(torch.erf(f.hardtanh((x.a + u.a)))) * (x.b != h))",
)
NUM_DRAWN = 30 if settings.get_current_profile_name() == "explore" else 1


@settings(max_examples=NUM_DRAWN, phases=[Phase.explicit, Phase.generate])
@given(equations(), st.integers(0, 2**31))
@example(MIXED, 0)
def test_cells_of_random_equations_are_the_same_in_c(texts, seed):
    layer = layer_of(random_cell(texts), seed)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(proof, "_LENGTHS", (1, 4))  # what differs by rounding may grow with steps
        written = to_c(layer, Path(folder, "c"), check=True)
        assert written.proof.difference < 3e-6, texts


@pytest.mark.parametrize(
    ("weights", "bits", "rounding"), [("f32", 32, 1e-7), ("bf16", 16, 4e-3), ("int8", 8, 1e-2)]
)
def test_smaller_weights_are_those_that_are_said_and_no_others(weights, bits, rounding, tmp_path):
    torch.manual_seed(0)
    modules = [nn.Embedding(30, 8), unrolled.LSTM(8, 64), nn.Linear(64, 30), nn.Tanh()]
    written = to_c(modules, tmp_path / "c", weights=weights, check=True)
    matrices = 30 * 8 + 4 * 64 * (8 + 64) + 64 * 30
    vectors = 4 * 64 + 30 + (30 + 2 * 4 * 64 + 30 if weights == "int8" else 0)
    assert written.num_bytes == matrices * bits // 8 + 4 * vectors
    assert written.proof.difference < 1e-6
    assert rounding / 100 < written.proof.of_rounding < rounding


def test_a_tcn_keeps_its_weights_while_rounded_ones_are_compared(tmp_path):
    torch.manual_seed(0)
    layer = unrolled.TCN(3, 4, num_layers=2)
    before = layer(torch.ones(5, 1, 3))[0]
    written = to_c(layer, tmp_path / "c", weights="int8", check=True)
    assert written.proof.difference < 1e-6 < written.proof.of_rounding
    assert torch.equal(layer(torch.ones(5, 1, 3))[0], before)


def test_the_program_of_the_documentation_runs_two_instances(tmp_path):
    torch.manual_seed(0)
    layer, linear = unrolled.LSTM(1, 16), nn.Linear(16, 1)
    written = to_c([layer, linear], tmp_path / "lstm")
    (text,) = re.findall(r"```c\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "main.c").write_text(text)
    argv = [*COMPILER.argv, *STRICT, "-Ilstm", "main.c", str(written.source), "-o", "main"]
    subprocess.run(argv, cwd=tmp_path, check=True)
    said = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    numbers = torch.tensor([[float(each) for each in line.split()] for line in said.splitlines()])
    x = torch.stack([0.25 * torch.arange(5.0), torch.ones(5)], 1)[..., None]
    with torch.no_grad():
        expected = linear(layer(x)[0])[..., 0]
    torch.testing.assert_close(numbers, expected, atol=2e-6, rtol=0)


# ---- Runs ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text("".join(f"{n} bottles of beer.\n" for n in range(60)))
    prepare(
        LanguageModelTask,
        DataOptions(files=(str(folder / "text.txt"),)),
        folder / "run",
        model=ModelOptions(hidden_size=8, cell="gru"),
        training=TrainingOptions(epochs=1, batch_size=4, k1=16),
    ).trainer.fit()
    return folder / "run"


def test_a_language_model_reads_and_writes_in_c(trained, tmp_path):
    written = to_c(str(trained), tmp_path / "c", name="beer", check=True)
    assert written.proof.difference < 1e-6
    content = json.loads((tmp_path / "c" / "beer.json").read_text())
    loaded = load(trained)
    assert content["vocabulary"] == loaded.task.to_dict()

    program = program_of(loaded.task.graphs(loaded.model).parts(), "beer", "f32")
    with proof._compiled(program) as compiled, torch.inference_mode():
        write, tokens = compiled._function("write"), (ctypes.c_int32 * 30)()
        scores, random = (ctypes.c_float * program.output_size)(), ctypes.c_uint32(1)

        def draw(first: int, temperature: float) -> int:
            compiled._function("reset")(compiled._model)
            number = ctypes.c_float(temperature)
            given = (compiled._model, ctypes.c_int32(first), number, ctypes.byref(random))
            return write(*given, ctypes.c_int32(30), tokens, scores)

        assert draw(3, 0.0) == 0
        expected, state, token = [], None, torch.tensor([[3]])
        for _ in range(30):
            said, state = loaded.model(token, state)
            token = said[:, -1].argmax(-1, keepdim=True)
            expected.append(int(token))
        assert list(tokens) == expected
        assert draw(program.num_tokens, 0.0) == draw(-1, 0.0) == -1
        assert draw(3, 1e6) == 0  # every token is about as likely
        assert len(set(tokens)) > 8


def test_what_is_drawn_has_the_probabilities_of_the_scores():
    model = [nn.Embedding(3, 3), nn.Linear(3, 3)]
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor([0.0, 1.0, 2.0]))
    chain = chain_of(model)
    program = program_of(type(chain)(chain.modules, 3, writes=True), "model", "f32")
    count = 4000
    with proof._compiled(program) as compiled:
        tokens, random = (ctypes.c_int32 * count)(), ctypes.c_uint32(7)
        given = (ctypes.c_float(0.5), ctypes.byref(random), ctypes.c_int32(count), tokens)
        scores = (ctypes.c_float * 3)()
        assert compiled._function("write")(compiled._model, ctypes.c_int32(0), *given, scores) == 0
        share = torch.bincount(torch.tensor(list(tokens)), minlength=3) / count
        firsts = torch.zeros(3)
        for seed in range(1000):  # small numbers, as people choose them
            random = ctypes.c_uint32(seed)
            more = (ctypes.c_float(0.5), ctypes.byref(random), ctypes.c_int32(1), tokens)
            compiled.call("write", ctypes.c_int32(0), *more, scores)
            firsts[tokens[0]] += 1 / 1000
        for wrong in (math.nan, -1.0, math.inf):
            more = (ctypes.c_float(wrong), *given[1:], scores)
            assert compiled._function("write")(compiled._model, ctypes.c_int32(0), *more) == -1
    expected = torch.tensor([0.0, 2.0, 4.0]).softmax(0)
    torch.testing.assert_close(share, expected, atol=0.02, rtol=0)
    torch.testing.assert_close(firsts, expected, atol=0.03, rtol=0)


@pytest.mark.parametrize(
    "options",
    [
        {"pooling": "mean", "bidirectional": False},
        {"pooling": "attention", "bidirectional": True},
        {"pooling": "max", "bidirectional": True, "cell": "tcn"},
        {"pooling": "last", "bidirectional": True, "num_layers": 2},
        {"pooling": "last", "bidirectional": False, "evidence": False},
    ],
)
def test_a_classifier_of_either_way_is_the_same_in_c(options, tmp_path):
    words = ["good", "bad", "fine", "awful", "nice"]
    rows = [f"{' '.join(words[(n * k) % 5] for k in range(1 + n % 7))},{n % 2}" for n in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows, ""]))
    prepare(
        ClassifyTask,
        ClassifyData(files=(str(tmp_path / "rows.csv"),), input=("text",), target="label"),
        tmp_path / "run",
        model=ClassifyModel(hidden_size=6, embedding_size=4, **options),
        training=ClassifyTraining(epochs=1),
    ).trainer.fit()
    written = to_c(tmp_path / "run", tmp_path / "c", check=True)
    assert written.proof.difference < 1e-6
    assert written.proof.num_rows > 3


# ---- What cannot be written ----------------------------------------------------------------------


def with_nan():
    layer = unrolled.GRU(3, 4)
    with torch.no_grad():
        layer.weight_hh_l0[2, 1] = torch.nan
    return layer


def with_hook():
    layer = nn.Linear(3, 4)
    layer.register_forward_hook(lambda *_: None)
    return layer


def with_another_block():
    layer = unrolled.TCN(3, 4, num_layers=2).eval()
    layer.blocks[1].conv1 = nn.Conv1d(4, 4, 3)
    return layer


class Doubled(unrolled.GRU):
    def forward(self, *arguments, **keywords):
        output, state = super().forward(*arguments, **keywords)
        return 2 * output, state


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (with_nan(), {}, r"GRU\.weight_hh_l0 has NaN"),
        (nn.LayerNorm(3), {}, "LayerNorm"),
        ([unrolled.GRU(3, 4), nn.LayerNorm(4)], {}, "there is no C for LayerNorm"),
        (nn.GRU(3, 4), {}, "there is no C for GRU"),
        ([], {}, "takes a run, a layer or modules one after the other, got nothing"),
        (unrolled.LSTM(3, 4).half(), {}, "float32 or float64 on the CPU, got float16"),
        (unrolled.TCN(3, 4, dropout=0.5), {}, "TCN is in training mode"),
        (unrolled.GRU(3, 4), {"weights": "f16"}, "weights must be f32, bf16 or int8, got 'f16'"),
        (unrolled.GRU(3, 4), {"name": "2d"}, "name must be a name that C can have, got '2d'"),
        (unrolled.GRU(3, 4), {"name": "while"}, "name must be a name that C can have"),
        (unrolled.GRU(3, 4), {"name": "part1"}, "name must be a name that C can have"),
        (with_hook(), {}, "Linear has hooks"),
        (Doubled(3, 4), {}, "Doubled has a forward of its own"),
        (with_another_block(), {}, "block 1 of TCN is not what it was made as"),
        (unrolled.Recurrent(of_bessel, 3, 4), {}, "operation aten.special_bessel_j0"),
        (
            [nn.Linear(3, 4), unrolled.Recurrent(that_is_given, 4, 4)],
            {},
            "cell that_is_given reads dt beside x at every step, so that nothing can come before",
        ),
        (
            unrolled.Recurrent(that_decides, 3, 4),
            {},
            "cell that_decides: .*its equations read values",
        ),
    ],
)
def test_what_cannot_be_written_is_said_and_nothing_is(model, options, message, tmp_path):
    with pytest.raises(OptionError, match=message) as told:
        to_c(model, tmp_path / "c", **options)
    assert "\n" not in str(told.value)
    assert not [*tmp_path.iterdir()]


def test_a_folder_that_exists_is_left_as_it_is(tmp_path):
    (tmp_path / "c").mkdir()
    for name, message in (("c", "c: exists"), ("none/c", "there is no folder")):
        with pytest.raises(RunError, match=message):
            to_c(unrolled.GRU(3, 4), tmp_path / name)
    assert not [*(tmp_path / "c").iterdir()]


def test_what_computes_something_else_is_not_written(tmp_path, monkeypatch):
    other = program_of(chain_of(unrolled.GRU(3, 4)), "model", "f32")
    monkeypatch.setattr("unrolled.export.c.files.program_of", lambda *_: other)
    with pytest.raises(RunError, match=r"model\.c: not written: its scores differ by"):
        to_c(unrolled.GRU(3, 4), tmp_path / "c", check=True)
    assert not [*tmp_path.iterdir()]
