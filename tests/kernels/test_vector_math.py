"""The vector functions of the kernels, against double precision, C's and torch's own functions.

UNROLLED_ALL_FLOATS=1 measures the errors on all 2^32 floats: some minutes for each compiler.
"""

import ctypes
import math
import os
import platform
import re
import subprocess
from itertools import product
from pathlib import Path
from shutil import which

import pytest
import torch

from support.rounding import ROUNDINGS
from unrolled import kernels
from unrolled.kernels.building.compiler import FLAGS

HEADERS = Path(kernels.__file__).parent / "emitting" / "headers"
VECTOR_H = (HEADERS / "vector.h").read_text()
# In units in the last place, as vector.h states them.
STATED = {name: float(bound) for name, bound in re.findall(r"\* +(v\w+) +(\d\.\d)", VECTOR_H)}
SATURATED = re.search(r"vtanh .*, and (\d\.\d) \(.*\) from \|x\| = (\d) on", VECTOR_H)
STRIDE = 1 if os.environ.get("UNROLLED_ALL_FLOATS") else 509

HARNESS = r"""
#include "vector.h"

#define EACH1(f)                                                 \
  void each_##f(const float *x, float *out, long n) {            \
    for (long i = 0; i < n; i += W)                              \
      store(out + i, n - i, f(load(x + i, n - i)));              \
  }
#define EACH2(f)                                                 \
  void each_##f(const float *x, const float *y, float *out, long n) { \
    for (long i = 0; i < n; i += W)                              \
      store(out + i, n - i, f(load(x + i, n - i), load(y + i, n - i))); \
  }
INL vf where_less(vf x, vf y) { return select(x < y, x, 2.0f * y); }
INL vf clamped(vf x) { return clamp(x, -1.5f, 2.5f); }
INL vf same(vf x) { return x; }
EACH1(vexp) EACH1(vsigmoid) EACH1(vtanh)
EACH1(vsqrt) EACH1(vlog) EACH1(vlog1p) EACH1(vexpm1) EACH1(vsin) EACH1(vcos) EACH1(verf)
EACH1(vabs) EACH1(vsign) EACH1(clamped) EACH1(same)
EACH2(vpow) EACH2(vmin) EACH2(vmax) EACH2(where_less)

long width(void) { return W; }

void padded(const float *x, float *out, long n) { store(out, W, load(x, n)); }

/* The product with denormals flushed, and after that. */
void flush(const volatile float *x, volatile float *products) {
  unsigned long word = flush_denormals();
  products[0] = x[0] * x[1];
  restore_denormals(word);
  products[1] = x[0] * x[1];
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* |result - exact| in units in the last place of a float; infinite where a limit is missed. */
static double error(float result, double exact) {
  if (exact != exact) return result != result ? 0 : INFINITY;
  if (fabs(exact) < 0x1p-126 && result == 0) return 0;
  if (fabs(exact) >= 0x1.ffffffp127) return result == exact / 0.0 ? 0 : INFINITY;
  int exponent;
  frexp(exact, &exponent);
  double ulps = fabs(result - exact) * ldexp(1, 24 - (exponent < -125 ? -125 : exponent));
  return ulps <= 1e9 ? ulps : INFINITY;
}

/* The greatest error, and where, of the floats with the bits first, first + stride, ... */
static double sweep(void each(const float *, float *, long), double f(double), uint64_t first,
                    uint64_t last, uint64_t stride, float *where) {
  double worst = 0;
  float x[1024], y[1024];
  while (first <= last) {
    long n = 0;
    for (; n < 1024 && first <= last; n++, first += stride) memcpy(x + n, &(uint32_t){first}, 4);
    each(x, y, n);
    for (long i = 0; i < n; i++) {
      double e = error(y[i], f(x[i]));
      if (e > worst) worst = e, *where = x[i];
    }
  }
  return worst;
}

#define SWEEP(f, exact)                                                                         \
  double sweep_##f(uint64_t first, uint64_t last, uint64_t stride, float *where) {              \
    return sweep(each_##f, exact, first, last, stride, where);                                  \
  }
SWEEP(vexp, exp) SWEEP(vsigmoid, sigmoid) SWEEP(vtanh, tanh)
"""


def builds():
    """Compilers and instruction sets that this machine can run, `None` without a compiler."""
    compilers = [name for name in ("gcc", "clang") if which(name)] or [which("cc")]
    if compilers == [None]:
        return [None]
    machines = ["native"]
    if platform.machine() == "x86_64":
        machines += ["x86-64"]
        if torch.backends.cpu.get_cpu_capability() != "DEFAULT":
            machines += ["x86-64-v3"]
    return list(product(compilers, machines))


@pytest.fixture(scope="module", params=builds(), ids=lambda build: " ".join(build or ["none"]))
def library(request, tmp_path_factory):
    if request.param is None:
        pytest.skip("no C compiler: cc, gcc or clang")
    compiler, machine = request.param
    folder = tmp_path_factory.mktemp("vector_math")
    (folder / "harness.c").write_text(HARNESS)
    flags = [flag for flag in FLAGS if "-march" not in flag]
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-misleading-indentation"]
    # clang 14 has it that -fno-fast-math asks for traps
    warnings += ["-Wno-unknown-warning-option", "-Wno-overriding-t-option"]
    arguments = [*flags, f"-march={machine}", *warnings, f"-I{HEADERS}", "harness.c", "-lm"]
    subprocess.run([compiler, *arguments, "-o", "harness.so"], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "harness.so"))
    for name in STATED:
        function = getattr(library, f"sweep_{name}")
        function.restype = ctypes.c_double
        function.argtypes = [ctypes.c_uint64] * 3 + [ctypes.POINTER(ctypes.c_float)]
    return library


def call(library, name, *arguments):
    """Return the vector function `name` of float32 tensors."""
    arguments = [argument.float().contiguous() for argument in arguments]
    out = torch.full_like(arguments[0], math.nan)
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (*arguments, out)]
    getattr(library, f"each_{name}")(*pointers, ctypes.c_long(len(out)))
    return out


def bits(x):
    return torch.tensor(x, dtype=torch.float32).view(torch.int32).item() & 0xFFFFFFFF


def worst_error(library, name, first, last, stride):
    where = ctypes.c_float()
    error = getattr(library, f"sweep_{name}")(first, last, stride, where)
    return error, where.value


def test_every_error_is_stated():
    assert STATED == {f"v{name}": ROUNDINGS[name] / 2 for name in ("exp", "sigmoid", "tanh")}


@pytest.mark.parametrize("name", STATED)
def test_error_over_all_floats_is_at_most_the_stated_one(library, name):
    error, where = worst_error(library, name, 0, 2**32 - 1, STRIDE)
    print(f"{name}: {error:.3f} ulp at {where!r}")  # noqa: T201 - the measurement, with `-s`
    assert error <= STATED[name], where


@pytest.mark.parametrize("name", STATED)
def test_error_where_the_exponent_or_the_formula_changes_is_at_most_the_stated_one(library, name):
    multiples = [k * math.log(2) / 4 for k in range(1, 520)]
    for x in (*multiples, 9.01, 9.1, 16.64, 88.02, 88.72283, 88.9, 89.4, 103.97, 2.0**22, 2.0**23):
        for point in (bits(x), bits(-x)):
            error, where = worst_error(library, name, point - 500, point + 500, 1)
            assert error <= STATED[name], where


def test_tanh_near_one_is_wrong_by_its_last_rounding(library):
    # A gradient is a multiple of 1 - tanh^2, where this error stays and what it is of goes.
    bound, first = map(float, SATURATED.groups())
    for sign in (1, -1):
        error, where = worst_error(library, "vtanh", bits(sign * first), bits(sign * 9.2), 7)
        assert error <= bound, where


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("vexp", [-math.inf, -3e38, -104, 0], [0, 0, 0, 1]),
        ("vexp", [88.72284, 89, 3e38, math.inf], [math.inf] * 4),
        ("vsigmoid", [-math.inf, -3e38, -104, 0], [0, 0, 0, 0.5]),
        ("vsigmoid", [18, 104, 3e38, math.inf], [1, 1, 1, 1]),
        ("vtanh", [-math.inf, -3e38, -9.02, 0], [-1, -1, -1, 0]),
        ("vtanh", [9.02, 3e38, math.inf], [1, 1, 1]),
    ],
)
def test_limits_are_exact(library, name, x, expected):
    assert call(library, name, torch.tensor(x)).tolist() == expected


@pytest.mark.parametrize("name", STATED)
def test_nan_stays_nan_whatever_its_payload(library, name):
    payloads = [0x7F800001, 0x7FC00000, 0x7FC00001, 0x7FFFFFFF, -1, -0x400000, -0x7FFFFF]
    x = torch.tensor(payloads, dtype=torch.int32).view(torch.float32)
    assert x.isnan().all()
    assert call(library, name, x).isnan().all()


def test_tanh_is_odd_and_never_beyond_one(library):
    x = torch.cat([torch.linspace(-10, 10, 100_003), torch.logspace(-30, 30, 1001)])
    y = call(library, "vtanh", x)
    assert y.equal(-call(library, "vtanh", -x))
    assert y.abs().max() == 1


def test_tanh_near_zero_is_accurate_relative_to_its_value(library):
    x = torch.logspace(-37, -3, 5001)
    exact = x.double().tanh()
    assert ((call(library, "vtanh", x) - exact) / exact).abs().max() < STATED["vtanh"] * 2**-23


@pytest.mark.parametrize("name", STATED)
def test_a_result_does_not_depend_on_the_place_in_the_vector(library, name):
    x = torch.randn(1003) * 20
    shuffled = torch.randperm(len(x))
    assert call(library, name, x)[shuffled].equal(call(library, name, x[shuffled]))


def test_load_and_store_touch_only_the_first_floats(library):
    width = library.width()
    for n in range(width + 1):
        x = torch.full((width + 1,), math.nan)
        x[:n] = torch.arange(n) + 1.0
        out = torch.full((width + 1,), -7.0)
        pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (x, out)]
        library.each_same(*pointers, ctypes.c_long(n))
        assert out.tolist() == [*x[:n].tolist(), *[-7.0] * (width + 1 - n)]


def test_what_load_does_not_read_is_zero(library):
    width = library.width()
    for n in range(width):
        x, out = torch.full((width,), math.nan), torch.full((width,), math.nan)
        x[:n] = 3.0
        pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (x, out)]
        library.padded(*pointers, ctypes.c_long(n))
        assert out.tolist() == [3.0] * n + [0.0] * (width - n)


SPECIAL = torch.tensor([-math.inf, -2.0, -1e-40, 0.0, 1e-40, 0.7, 3.0, math.inf, math.nan])
PAIRS = torch.cartesian_prod(SPECIAL, SPECIAL).T


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("vmin", torch.minimum),
        ("vmax", torch.maximum),
        ("where_less", lambda x, y: torch.where(x < y, x, 2 * y)),
        ("vabs", lambda x, y: x.abs()),
        ("vsign", lambda x, y: x.sign()),
        ("clamped", lambda x, y: x.clamp(-1.5, 2.5)),
    ],
)
def test_selections_are_those_of_torch_with_nan_and_infinity(library, name, theirs):
    x, y = PAIRS
    ours = call(library, name, *((x, y) if name in ("vmin", "vmax", "where_less") else (x,)))
    torch.testing.assert_close(ours, theirs(x, y), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", ["sqrt", "log", "log1p", "expm1", "sin", "cos", "erf"])
def test_rare_functions_are_those_of_torch(library, name):
    x = torch.linspace(0.01, 6, 1003)
    expected = getattr(torch, name)(x.double())
    torch.testing.assert_close(
        call(library, f"v{name}", x).double(), expected, rtol=5e-7, atol=1e-7
    )


def test_powers_are_those_of_torch(library):
    x, y = torch.cartesian_prod(torch.linspace(0.1, 3, 31), torch.linspace(-3, 3, 31)).T
    expected = x.double() ** y.double()
    torch.testing.assert_close(call(library, "vpow", x, y).double(), expected, rtol=5e-7, atol=0)


@pytest.mark.parametrize("factors", [(1.2e-38, 0.5), (1e-40, 1e9)], ids=["result", "operand"])
def test_denormals_are_flushed_until_restored(library, factors):
    if platform.machine() not in ("x86_64", "aarch64", "arm64"):
        pytest.skip("denormals are flushed on x86-64 and 64-bit Arm")
    x, products = (ctypes.c_float * 2)(*factors), (ctypes.c_float * 2)()
    library.flush(x, products)
    assert products[0] == 0
    assert products[1] == pytest.approx(math.prod(factors), rel=1e-4)
