"""Toy problems: data made from a seed, with the loss of guessing and of a perfect answer known.

    problem          reads                      answers              what it asks of a memory
    adding           T values, two of them      the marked two's     two values, kept for up to T
                     marked                     sum, at the end      steps
    copy             10 symbols, T blanks, go!  the 10 symbols       ten symbols, kept for T steps
    echo             random symbols             the one k steps ago  the last k symbols, always
    reber            a string of a grammar      its next symbol      the state of an automaton
    embedded-reber   the same within a frame    its next symbol      the frame, too
    hello            "hell"                     "ello"               which l it was

The grammar's strings are in `reber.py`, what all problems share in `problem.py`; models and
measurements are a task's business.
"""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch

from unrolled.data.delay import delay_batch
from unrolled.errors import OptionError, field
from unrolled.tasks.toy.problem import Array, Levels, Toy, require_at_least
from unrolled.tasks.toy.reber import Reber

__all__ = ["TOYS", "Adding", "CopyMemory", "Echo", "Hello", "make_toy"]


@dataclass(frozen=True)
class Adding(Toy):
    """The adding problem: of `length` values in [0, 1), two are marked; their sum is asked for.

    Inputs (T, 2): the value, and 1 where it is marked. The mean of the sum is 1 and its variance
    1/6, the squared error of who always answers 1. (Bai et al. print 0.1767, which would be 0.0100
    more.) An answer counts as correct within 0.04, as with Hochreiter and Schmidhuber.

    Source: S. Hochreiter and J. Schmidhuber (1997), "Long short-term memory", section 5.4, in the
    form of S. Bai, J. Z. Kolter and V. Koltun (2018), arXiv:1803.01271, section 4.1: any two
    different steps may be marked.

    Args:
        seed: Of the examples.
        length: T, steps, at least 2.

    Raises:
        OptionError: A length below 2.

    Example:
        >>> inputs, target = Adding(seed=1, length=5).example(0)
        >>> inputs.shape, bool(np.isclose(target, inputs[:, 0] @ inputs[:, 1]))
        ((5, 2), True)
    """

    name = "adding"
    tolerance: ClassVar[float] = 0.04

    length: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self.name, f"{field('length')} (values to read)", self.length, least=2)

    def _make(self, random: np.random.Generator) -> tuple[Array, Array]:
        inputs = np.zeros((self.length, 2), dtype=np.float32)
        inputs[:, 0] = random.random(self.length, dtype=np.float32)
        marked = random.choice(self.length, size=2, replace=False)
        inputs[marked, 1] = 1
        return inputs, inputs[marked, 0].sum()

    def levels(self) -> Levels:
        """Return the levels of who always answers 1, and of who adds.

        The sum of two uniform values has the density 1 - |s - 1|, so that it is within a of 1 with
        probability 2a - a^2.
        """
        a = self.tolerance
        return {
            "chance (always 1)": {"loss": 1 / 6, "correct_sums": 2 * a - a * a},
            "solved": {"loss": 0.0, "correct_sums": 1.0},
        }

    @property
    def max_time(self) -> int:
        """The length."""
        return self.length


@dataclass(frozen=True)
class CopyMemory(Toy):
    """Copy memory: 10 symbols, then blanks, then a sign upon which the 10 symbols are asked for.

    T + 20 steps: ten of the symbols 1 ... 8, T - 1 blanks (0), the sign (9) eleven times. The
    targets are T + 10 blanks and the ten symbols. Who knows when, but not what, guesses among eight
    at ten steps: 10 ln 8 / (T + 20) nats per step.

    Source: Hochreiter and Schmidhuber (1997); M. Arjovsky, A. Shah and Y. Bengio (2016); in the
    form of Bai, Kolter and Koltun (2018), arXiv:1803.01271, section 4.1.

    Args:
        seed: Of the examples.
        length: T, the steps between a symbol and its repetition less 10, at least 1.

    Raises:
        OptionError: A length below 1.

    Example:
        >>> inputs, targets = CopyMemory(length=3).example(0)
        >>> inputs[10:].tolist(), targets[:13].tolist()
        ([0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        >>> bool((inputs[:10] == targets[13:]).all())
        True
    """

    name = "copy"
    symbols = "_12345678?"
    num_recalled: ClassVar[int] = 10

    length: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self.name, f"{field('length')} (blanks)", self.length, least=1)

    def _make(self, random: np.random.Generator) -> tuple[Array, Array]:
        num = self.num_recalled
        inputs, targets = np.zeros((2, self.length + 2 * num), dtype=np.int64)
        inputs[:num] = targets[-num:] = random.integers(1, 9, num)
        inputs[-num - 1 :] = 9
        return inputs, targets

    def levels(self) -> Levels:
        """Return the levels of blanks and a guess among eight, and of a perfect memory."""
        num = self.num_recalled
        chance = num * math.log(8) / (self.length + 2 * num)
        return {
            "chance (blanks, then one of 8)": {"loss": chance, "recalled_symbols": 1 / 8},
            "solved": {"loss": 0.0, "recalled_symbols": 1.0},
        }

    @property
    def max_time(self) -> int:
        """From a symbol to its repetition."""
        return self.length + self.num_recalled


@dataclass(frozen=True)
class Echo(Toy):
    """The delayed echo: every symbol is to be said again `delay` steps after it was read.

    The symbols are random, so that nothing but memory helps: chance is ln 4. After the symbols come
    blanks for the last of the echo; the targets of the first `delay` steps are `IGNORE`. The layout
    is that of any delayed targets, `unrolled.data.delay`.

    Args:
        seed: Of the examples.
        length: Symbols, at least 1.
        delay: k, steps, at least 0.

    Raises:
        OptionError: A delay below 0 or a length below 1.

    Example:
        >>> inputs, targets = Echo(length=3, delay=2).example(0)
        >>> bool((inputs[:3] == targets[2:]).all()), targets[:2].tolist(), inputs[3:].tolist()
        (True, [-100, -100], [4, 4])
    """

    name = "echo"
    symbols = "abcd_"
    num_echoed: ClassVar[int] = 4

    length: int = 100
    delay: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self.name, f"{field('length')} (symbols)", self.length, least=1)
        require_at_least(self.name, f"{field('delay')} (steps)", self.delay, least=0)

    def _make(self, random: np.random.Generator) -> tuple[Array, Array]:
        symbols = torch.from_numpy(random.integers(0, self.num_echoed, (1, self.length)))
        late = delay_batch(symbols, symbols, self.delay, blank=self.num_echoed)
        return late.inputs[0].numpy(), late.targets[0].numpy()

    def levels(self) -> Levels:
        """Return the levels of a guess among four, and of a perfect memory."""
        num = self.num_echoed
        return {
            "chance (one of 4)": {"loss": math.log(num), "accuracy": 1 / num},
            "solved": {"loss": 0.0, "accuracy": 1.0},
        }

    @property
    def max_time(self) -> int:
        """The delay."""
        return max(2, self.delay)


@dataclass(frozen=True)
class Hello(Toy):
    """The next character of "hello": after an l comes l or o, and only memory can tell.

    There is one example, over and over. Who knows how often each character is asked for pays
    (ln 4 + 2 ln 2 + ln 4) / 4 nats per character; who sees the character before, ln 2 at two of
    four.

    Source: A. Karpathy (2015), "The unreasonable effectiveness of recurrent neural networks".

    Example:
        >>> inputs, targets = Hello().example(0)
        >>> ["".join(Hello.symbols[i] for i in part) for part in (inputs, targets)]
        ['hell', 'ello']
    """

    name = "hello"
    symbols = "helo"

    def _make(self, random: np.random.Generator) -> tuple[Array, Array]:  # noqa: ARG002  # one
        word = np.array([self.symbols.index(character) for character in "hello"])
        return word[:-1], word[1:]

    def levels(self) -> Levels:
        """Return the levels of frequencies, of who sees one character, and of a memory."""
        return {
            "chance (frequencies)": {"loss": 1.5 * math.log(2), "accuracy": 1 / 2},
            "best without memory": {"loss": math.log(2) / 2, "accuracy": 3 / 4},
            "solved": {"loss": 0.0, "accuracy": 1.0},
        }

    @property
    def max_time(self) -> int:
        """The word's length."""
        return 4


TOYS: Mapping[str, Callable[..., Toy]] = {
    "adding": Adding,
    "copy": CopyMemory,
    "echo": Echo,
    "reber": Reber,
    "embedded-reber": partial(Reber, embedded=True),
    "hello": Hello,
}
"""The problems by the names that the command line uses."""

_SIZES = {"adding": ("length",), "copy": ("length",), "echo": ("length", "delay")}


def make_toy(name: str, seed: int = 0, **sizes: int | None) -> Toy:
    """Return the problem called `name`.

    Args:
        name: One of `TOYS`.
        seed: Of its examples.
        sizes: "length" and "delay", where the problem has them; None leaves them as they are.

    Raises:
        OptionError: No such problem, a size that it does not have, or one out of its range.

    Example:
        >>> make_toy("echo", delay=3, length=None)
        Echo(seed=0, length=100, delay=3)
    """
    if name not in TOYS:
        near = difflib.get_close_matches(name.lower(), TOYS, n=1)
        hint = f"did you mean {near[0]}?" if near else ""
        raise OptionError(f"toy: no problem {name!r}, there are {', '.join(TOYS)}", hint)
    chosen = {size: value for size, value in sizes.items() if value is not None}
    for size in chosen:
        if size not in _SIZES.get(name, ()):
            having = " and ".join(other for other, has in _SIZES.items() if size in has)
            message = f"{field(size)} is for {having}, but the problem is {name}"
            raise OptionError(message, "leave it out")
    return TOYS[name](seed=seed, **chosen)
