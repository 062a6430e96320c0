"""The C that is the same for every cell: headers that stand alone, and that agree with Python."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from unrolled import kernels
from unrolled.cells import gru_reset_before, lstm
from unrolled.kernels import KernelError, kernel_source, load_library
from unrolled.kernels.emitting.call import Call
from unrolled.kernels.emitting.headers import header_text

HEADERS = Path(kernels.__file__).parent / "emitting" / "headers"
FOUND = filter(None, map(shutil.which, ("cc", "gcc", "clang")))
COMPILERS = list({Path(path).resolve(): path for path in FOUND}.values())  # each by one name
needs_compiler = pytest.mark.skipif(not COMPILERS, reason="no C compiler on the PATH")
CELLS = {
    "of every kind": [],
    "without applied products": ["-DAPPLIED_COLUMNS=0"],
    "with a product of a product": ["-DAPPLIED_COLUMNS=2", "-DLAST_PHASE=2"],
    "without recurrent products": ["-DAPPLIED_COLUMNS=0", "-DRECURRENT_COLUMNS=0"],
    "without weight vectors": ["-DPARAMETERS=0"],
    "with one state": ["-DSTATES=1", "-DFORMER_STATES=0", "-DDIRECT=0"],
    "with sums over units": ["-DREDUCES=1", "-DFORMER_STATES=0"],
    "with sums over units alone": ["-DREDUCES=1", "-DFORMER_STATES=0", "-DAPPLIED_COLUMNS=0"],
    "with sums over units in three phases": [
        *("-DREDUCES=1", "-DFORMER_STATES=0", "-DAPPLIED_COLUMNS=2", "-DLAST_PHASE=2"),
    ],
    "with bfloat16 weights": ["-DWEIGHT_BITS=16"],
    "with int8 weights": ["-DWEIGHT_BITS=8"],
    "of mixed precision": ["-DMIXED=1"],
}


def names_in(text: str) -> list[str]:
    return re.findall(r'^#include "(\w+)\.h"$', text, re.MULTILINE)


def compile_only(compiler, machine, cell, *headers):
    flags = ["-fsyntax-only", "-Wall", "-Wextra", "-Werror", *machine, *CELLS[cell], "-x", "c"]
    subprocess.run([compiler, *flags, *map(str, headers)], check=True)


@needs_compiler
@pytest.mark.parametrize("cell", CELLS)
def test_each_header_compiles_alone(cell):
    """By one compiler: what a header needs and does not include is missing to all of them."""
    compile_only(COMPILERS[0], ["-march=native"], cell, *sorted(HEADERS.glob("*.h")))


@needs_compiler
@pytest.mark.parametrize("machine", [[], ["-march=native"]], ids=["any machine", "this machine"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_headers_compile_without_a_warning_of_any_compiler(cell, machine):
    for compiler in COMPILERS:
        compile_only(compiler, machine, cell, HEADERS / "kernel.h")


def test_one_header_includes_all_and_each_only_those_before_it():
    order = names_in((HEADERS / "kernel.h").read_text())
    assert sorted([*order, "kernel"]) == sorted(path.stem for path in HEADERS.glob("*.h"))
    for position, name in enumerate(order):
        assert set(names_in((HEADERS / f"{name}.h").read_text())) <= set(order[:position])


@pytest.mark.parametrize("cell", [lstm, gru_reset_before], ids=lambda cell: cell.name)
def test_a_kernel_is_one_text_that_holds_the_headers_in_order(cell):
    source = kernel_source(cell)
    assert not names_in(source)
    order = names_in((HEADERS / "kernel.h").read_text())
    places = [
        source.index(header_text(name))
        for name in order
        if name not in ("cell", "steps", "reduce", "row_steps")
    ]
    assert places == sorted(places)
    assert "UNROLLED_CELL_H" not in source
    assert "UNROLLED_STEPS_H" not in source


def test_every_size_and_array_of_a_cell_has_a_place_in_its_header():
    written = re.compile(r"^#define (\w+) |^static const int64_t (\w+)\[\]", re.MULTILINE)
    source = kernel_source(gru_reset_before)
    cell = header_text("cell")
    declared = {macro or array for macro, array in written.findall(cell)} - {"UNROLLED_CELL_H"}
    for macro, array in written.findall(source[: source.index("UNROLLED_VECTOR_H")]):
        assert (macro or array) in declared
        declared.remove(macro or array)
    assert not declared


@needs_compiler
@pytest.mark.parametrize("pair", [("bias_ih", "bias_hh"), ("gates", "records"), ("x", "weight_ih")])
def test_a_kernel_with_a_field_in_another_place_than_python_has_it_does_not_compile(pair):
    source = kernel_source(lstm)
    call = source[source.index("typedef struct {\n  int64_t num_steps") : source.index("} Call;")]
    first, second = pair
    swapped = re.sub(
        rf"\*({first}|{second});", lambda m: f"*{second if m[1] == first else first};", call
    )
    assert swapped != call
    load_library(source, "call")
    with pytest.raises(KernelError, match=f"Call: ({first}|{second})"):
        load_library(source.replace(call, swapped), "call")


def test_every_field_of_the_call_is_asserted():
    source = kernel_source(lstm)
    for name, *_ in Call._fields_:
        place = getattr(Call, name).offset
        assert f"_Static_assert(offsetof(Call, {name}) == {place}," in source


PACKED_AND_MULTIPLIED = """
#define select their_select
#include <stdio.h>
#undef select
#include "pack.h"
int main(int count, char **arguments) {
  (void)arguments;
  static float panel[PANEL_FLOATS(4, 1)] __attribute__((aligned(64)));
  float words[ENCODED_FLOATS(4) + W], weights[W] = {1, 2, -3, 0.5f}, row[W] = {1, 0.5f, 2, 4};
  const long depth = 3 + count;
  const float *column[W], *a[1];
  for (int i = 0; i < W; i++) column[i] = weights;
  a[0] = encoded(row, depth, words);
  memset(panel, 0xff, sizeof panel); /* NaN */
  pack_columns(column, 1, depth, panel, W);
  vf out[1];
  product(1, 1, depth, a, panel, out);
  printf("%g %g", out[0][0], out[0][1]);
}
"""


@needs_compiler
@pytest.mark.parametrize("kind", ["-DWEIGHT_BITS=32", "-DWEIGHT_BITS=16", "-DMIXED=1"])
def test_what_is_packed_is_what_the_same_function_multiplies(kind, tmp_path):
    """A compiler that takes words and floats for different memory multiplies what was there."""
    source, program = tmp_path / "packed.c", tmp_path / "packed"
    source.write_text(PACKED_AND_MULTIPLIED)
    flags = ["-O2", "-std=gnu11", "-w", "-fno-trapping-math", kind, f"-I{HEADERS}", str(source)]
    for compiler in COMPILERS:
        subprocess.run([compiler, *flags, "-o", str(program), "-lm"], check=True)
        done = subprocess.run([program], check=True, capture_output=True, text=True)
        assert done.stdout == "-2 0"
