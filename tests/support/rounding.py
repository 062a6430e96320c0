"""How far from exact a result in float32 may be: as far as its roundings can take it.

A run in float64 has every operation made wrong by as much as float32 may make it wrong, by chance
up or down. How far that takes a result is what its conditioning allows: almost nothing for most,
much for a gradient through 1 - tanh^2 near 1, for a sum that cancels, or for steps that grow what
they are given. A kernel has to stay within that, for its errors are of this kind and smaller.

By how much: an operation's error is at most e = `ROUNDINGS` * 2^-24 of its result, and a product
of matrices or a sum has such an error for each of its partial sums. Errors of rounding may be taken
as independent (Higham and Mary, A New Approach to Probabilistic Rounding Error Analysis, SIAM J.
Sci. Comput. 41, 2019). One that is anywhere up to e has a standard deviation of e / sqrt(3), and to
first order a result's error is a sum of them. Here each is made 6 e / sqrt(3), so that a result is
as far off as six standard deviations: 2 in 10^9 results of a right kernel are further off, and none
whose error is one operation's. where(), max() and the like have steps, which no derivative sees: a
run goes over those that lie within these errors, and what counts is the greatest of several runs.

Where factors are rounded to bfloat16 that is not enough: each rounding is a step, and errors of six
times the size go over six times as many, which makes the deviation sqrt(6) times as large. There,
runs with errors of their own size are looked at, too, and six times the root of their mean square.
"""

import math
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch._decomp import _core_aten_decompositions_post_autograd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

__all__ = ["ROUNDINGS", "Exact", "assert_right_to_rounding"]

_ROUNDING = 2.0**-24
_DEVIATION = 1 / math.sqrt(3)  # of an error that is anywhere up to 1
_NUM_RUNS = 8
_NUM_OWN_RUNS = 16

# In units of _ROUNDING, half a unit in the last place. Those of vector.h are stated there, those of
# C's library are at most two units, and gelu's are measured in test_functions.py.
ROUNDINGS = {"sigmoid": 5.0, "tanh": 6.6, "exp": 3.8, "gelu": 8.0, "gelu_backward": 32.0}
ROUNDINGS |= dict.fromkeys(
    """
    acos acosh asin asinh atan atan2 atanh cos cosh elu elu_backward erf erfc exp2 expm1 hypot log
    log10 log1p log2 pow sin sinh tan
    """.split(),
    4.0,
)
_OF_SEVERAL = {"gelu", "gelu_backward"}  # whose operands are rounded on the way, too
_EXACT = set(
    """
    abs amax amin cat ceil clamp clamp_max clamp_min clone constant_pad_nd copy copy_ detach empty
    empty_like empty_strided fill fill_ flip floor full full_like hardtanh hardtanh_backward index
    index_select leaky_relu leaky_relu_backward lift lift_fresh masked_fill maximum minimum
    nan_to_num neg new_empty new_empty_strided new_full new_ones new_zeros ones ones_like relu
    repeat round scalar_tensor select_backward sgn sign slice_backward stack threshold
    threshold_backward trunc where zero_ zeros zeros_like _efficientzerotensor _to_copy
    """.split()
)


class Exact:
    """Exact results, and how far off they may be: each is computed when it is first asked for.

    Args:
        run: Returns the results of the reference in float64, each time that it is called.
        rounds_factors: Whether it rounds factors to bfloat16 on the way.
    """

    def __init__(
        self, run: Callable[[], Sequence[Tensor]], *, rounds_factors: bool = False
    ) -> None:
        self._run, self._rounds_factors = run, rounds_factors

    @cached_property
    def results(self) -> list[Tensor]:
        return list(self._run())

    @cached_property
    def allowed(self) -> list[float]:
        """The norm of the error that each may have in float32; this takes a second or three."""
        runs = self._errors(6 * _DEVIATION, _NUM_RUNS)
        allowed = [max(errors) for errors in zip(*runs, strict=True)]
        if not self._rounds_factors:
            return allowed
        own = zip(*self._errors(_DEVIATION, _NUM_OWN_RUNS), strict=True)
        factor = 6 / math.sqrt(_NUM_OWN_RUNS)
        pairs = zip(allowed, own, strict=True)
        return [max(bound, factor * math.hypot(*errors)) for bound, errors in pairs]

    def _errors(self, size: float, num_runs: int) -> list[list[float]]:
        """Return, of runs with errors of a size, the norms of the results' errors."""
        generator = torch.Generator().manual_seed(0)
        errors = []
        for _ in range(num_runs):
            with _Rounded(generator, size):
                results = self._run()
            pairs = zip(results, self.results, strict=True)
            errors.append([(a - b).norm().item() for a, b in pairs])
        return errors


def assert_right_to_rounding(
    got: Sequence[Tensor],
    run: Callable[[], Sequence[Tensor]] | Exact,
    names: Sequence[object] | None = None,
    near: float = 0.0,
) -> None:
    """Hold results in float32 to the errors that float32 allows them.

    Args:
        got: The results.
        run: Returns the same of the reference in float64, each time that it is called; or what it
            has returned.
        names: What to call each result in an error; its place by default.
        near: The relative error that needs no further look.
    """
    exact = run if isinstance(run, Exact) else Exact(run)
    sizes = [near * result.norm().item() for result in exact.results]
    errors = [(a.double() - b).norm().item() for a, b in zip(got, exact.results, strict=True)]
    if all(error <= size for error, size in zip(errors, sizes, strict=True)):
        return
    for name, error, *bounds in zip(
        names or range(len(errors)), errors, sizes, exact.allowed, strict=True
    ):
        assert error <= max(bounds), f"{name}: off by {error:.3g}, of {max(bounds):.3g} allowed"


class _Rounded(TorchDispatchMode):
    """Makes every operation on float64 as wrong as float32 may, times `size`."""

    def __init__(self, generator: torch.Generator, size: float) -> None:
        super().__init__()
        self._generator, self._size = generator, size
        self._decompositions = _core_aten_decompositions_post_autograd()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in _EXACT or _is_view(func):
            return func(*args, **kwargs)
        if name not in ROUNDINGS and func in self._decompositions:
            with self:  # silu, mish and the like are what torch says that they are made of
                result = self._decompositions[func](*args, **kwargs)
            if result is not NotImplemented:
                return result
        if name in _OF_SEVERAL:
            args, kwargs = tree_map(lambda x: self._wrong(x, _relative(x, 1.0)), (args, kwargs))
        result = func(*args, **kwargs)
        if not _is_double(result):
            return result
        if name in ("mm", "addmm"):
            size = _of_products(*args)
        elif name == "sum":
            size = _of_sum(func, result, *args, **kwargs)
        else:
            size = _relative(result, ROUNDINGS.get(name, 1.0))
        wrong = self._wrong(result, size)
        return result.copy_(wrong) if func._schema.is_mutable else wrong

    def _wrong(self, x, size):
        """Return `x` with errors as large as `size`, up or down."""
        if size is None:
            return x
        signs = torch.randint(0, 2, x.shape, generator=self._generator, dtype=x.dtype) * 2 - 1
        return x + self._size * size * signs


def _is_view(func) -> bool:
    return any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns)


def _is_double(x) -> bool:
    return isinstance(x, Tensor) and x.dtype == torch.float64


def _relative(x, roundings: float) -> Tensor | None:
    return x.abs() * (roundings * _ROUNDING) if _is_double(x) else None


def _of_products(*args: Tensor) -> Tensor:
    """Return the deviation of a product that is one chain of multiplications and additions."""
    *start, a, b = args
    sums = (a[:, :, None] * b).cumsum(1)
    for term in start:
        sums = sums + term.expand(len(a), b.shape[1])[:, None]
    return _ROUNDING * sums.square().sum(1).sqrt()


def _of_sum(func, result: Tensor, x: Tensor, *args, **kwargs) -> Tensor:
    """Return the deviation of a sum in whatever order."""
    terms = x.numel() / max(result.numel(), 1)
    return _ROUNDING * math.sqrt(terms) * func(x.abs(), *args, **kwargs)
