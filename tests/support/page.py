"""What stands on the page, in Python: its numbers, its terms, and waiting for them."""

import math
import re
import time
from typing import Any

MINUS = "\N{MINUS SIGN}"


def until(page: Any, condition: str, arg: Any = None, seconds: float = 90) -> None:
    """Wait for a JavaScript expression; playwright's own way needs eval, which the page forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition, arg):
        assert time.monotonic() < end, f"still not so after {seconds} s: {condition} {arg}"
        time.sleep(0.03)


def wait_for_place(page: Any, at: int) -> None:
    """Wait until the token at a place is marked."""
    until(page, "at => document.querySelector('.ribbon .here')?.dataset.at === String(at)", arg=at)


def shown(value: float, digits: int) -> str:
    """Return a number as the page writes it, with the minus of a keyboard."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if not float(text) else text


def plain(text: str) -> str:
    """Return what the page has written with the signs of a keyboard."""
    return text.replace(MINUS, "-").strip()


def evaluate(term: str) -> float:
    """Return the value of a term as it stands on the page, such as "= σ(0.414 + 0.061)"."""
    code = plain(term).removeprefix("=").replace("·", "*").replace("²", "**2").strip()
    code = code.replace("σ", "sigmoid")
    assert re.fullmatch(r"[\d.\s()+*/,\-a-z]+", code), code
    names = {
        "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
        "tanh": math.tanh,
        "max": max,
        "abs": abs,
    }
    return float(eval(code, {"__builtins__": {}}, names))
