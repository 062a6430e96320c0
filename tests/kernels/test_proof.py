"""What a new library must show before it is used."""

import warnings
from shutil import which

import pytest
import torch
from torch._subclasses import FakeTensorMode

import unrolled
from unrolled import cells
from unrolled.cells.surroundings import Surroundings
from unrolled.kernels import KernelError, kernel_or_reason, kernel_source, load_library, using_path
from unrolled.kernels.running import proof
from unrolled.kernels.running.paths import _outcomes

CC = which("cc") or which("gcc") or which("clang")
pytestmark = [
    pytest.mark.skipif(CC is None, reason="no C compiler"),
    pytest.mark.usefixtures("quick_kernels"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache, and layers that have not been used."""
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    _outcomes.clear()
    yield tmp_path / "cache"
    _outcomes.clear()


def compiler(tmp_path, monkeypatch, text):
    script = tmp_path / "compiler"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))


@unrolled.cell(gates="a b")
def greatest(x, u, h):
    return dict(h=torch.where(x.a > u.a, x.a, torch.tanh(u.a)) + torch.tanh(x.b + u.b))


UNFAITHFUL = {
    "sums in another order": "-fassociative-math -fno-signed-zeros -fno-trapping-math",
    "all of -ffast-math": "-ffast-math",
}


@pytest.mark.parametrize("arguments", UNFAITHFUL.values(), ids=UNFAITHFUL)
def test_a_compiler_that_computes_otherwise_is_told_of_once_and_the_loop_runs(
    tmp_path, folder, monkeypatch, arguments
):
    compiler(tmp_path, monkeypatch, f'exec {CC} "$@" -O2 {arguments}')
    layer, x = unrolled.LSTM(3, 5), torch.randn(4, 2, 3)
    with using_path("reference"):
        expected = layer(x)[0]
    with pytest.warns(UserWarning, match="its new kernel is not used, because") as told:
        outputs = [layer(x)[0] for _ in range(3)]
    assert len(told) == 1
    for output in outputs:
        torch.testing.assert_close(output, expected)
    assert torch.tensor(1e-40) * 1 != 0
    assert not list(folder.iterdir())


def test_what_is_no_kernel_is_an_error_of_ours(tmp_path, monkeypatch):
    empty = tmp_path / "empty.c"
    empty.write_text("int nothing;")
    text = f'for a; do last=$b; b=$a; done; exec {CC} -shared -fPIC "{empty}" -o "$last"'
    compiler(tmp_path, monkeypatch, text)
    assert "failed its proof" in kernel_or_reason(cells.lstm)


# What is written in a kernel, and what one that is wrong in one place would have there.
MISTAKES = {
    "a bias": ("load(bias + 2 * H", "0.99f * load(bias + 2 * H"),
    "a product": ("word[v] : p[v], factor);", "word[v] : p[v], factor * 1.01f);"),
    "a function": ("= vtanh(a_g)", "= 0.99f * vtanh(a_g)"),
    "a state": ("store(after[1] + unit, n, c_t)", "store(after[1] + unit, n, 0.99f * c_t)"),
    "a gradient of the step": ("(splat(1.0f) - f_t)", "(splat(1.01f) - f_t)"),
    "a gradient of a state": ("n, d_mul_6)", "n, d_mul_5)"),
    "a gradient of a weight": ("(sum[r][v], p[v], a[r]);", "(sum[r][v], p[v], -a[r]);"),
    "NaN": ("= vtanh(c_t)", "= vtanh(select(c_t == c_t, c_t, splat(0.0f)))"),
}


@pytest.mark.parametrize(
    ("mistake", "products"),
    [
        *((mistake, "f32") for mistake in MISTAKES),
        *((mistake, "mixed") for mistake in ("a product", "a state", "a gradient of a weight")),
    ],
)
def test_a_kernel_that_is_wrong_in_one_place_is_not_taken(mistake, products):
    right, wrong = MISTAKES[mistake]
    source = kernel_source(cells.lstm, products=products)
    assert source.count(right) == 1, "the kernel is not written as it was"
    library = load_library(source.replace(right, wrong), "lstm")
    with pytest.raises(KernelError, match="failed its proof"):
        proof.prove(cells.lstm, Surroundings(cells.lstm.equations), library, products)


CELLS = [*cells.CELLS.values(), greatest]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_a_cells_own_kernel_is_proven(cell):
    with warnings.catch_warnings(action="error"):
        assert not isinstance(kernel_or_reason(cell), str)


def test_equations_that_take_float32_alone_are_held_to_that():
    @unrolled.cell(gates="a")
    def strict(x, u, h):
        if x.a.dtype is not torch.float32:
            raise TypeError
        return dict(h=torch.tanh(x.a + u.a))

    assert not isinstance(kernel_or_reason(strict), str)


MODES = {
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu"),
    "device": lambda: torch.device("meta"),
    "fake": FakeTensorMode,
}


@pytest.mark.parametrize("mode", MODES)
def test_the_callers_modes_make_no_difference(mode):
    with MODES[mode]():
        assert not isinstance(kernel_or_reason(cells.gru_reset_after), str)


def test_the_callers_defaults_make_no_difference_and_stay():
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    try:
        assert not isinstance(kernel_or_reason(cells.lstm), str)
        assert torch.get_default_dtype() is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
        torch.use_deterministic_algorithms(False)


def test_a_cold_cache_draws_no_number_of_the_users():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert not isinstance(kernel_or_reason(cells.lstm), str)
    assert torch.equal(torch.get_rng_state(), before)
