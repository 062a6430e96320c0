"""Reber's grammar, plain and embedded: an automaton that writes strings, as a toy problem.

The plain one, by its states: each way writes a symbol and leads to a state.

    state      0      1      2      3      4      5      6
    one way    B 1    T 2    S 2    T 3    X 3    P 4    E end
    or         -      P 3    X 4    V 5    S 6    V 6    -

The embedded one writes a plain string within a frame, BT ... TE or BP ... PE: what was second has
to be known at the end.

Source: A. S. Reber (1967), "Implicit learning of artificial grammars"; embedded: S. Hochreiter and
J. Schmidhuber (1997), "Long short-term memory", section 5.1, after S. E. Fahlman (1991).
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from unrolled.tasks.toy.problem import Array, Levels, Toy

__all__ = ["EMBEDDED_REBER", "REBER", "SYMBOLS", "Grammar", "Reber"]

SYMBOLS = "BTSXVPE"

State = Hashable
Edges = Mapping[State, tuple[tuple[str, State], ...]]


@dataclass(frozen=True)
class Grammar:
    """An automaton that writes a symbol on each way; all ways from a state are equally likely.

    Args:
        edges: By state, the symbols and the states that may follow. The first state is 0; a state
            from which nothing leads is an end.

    Example:
        >>> string = REBER.draw(np.random.default_rng(0))
        >>> string, [sorted(legal) for legal in REBER.legal(string)][:3]
        ('BPVVE', [['B'], ['P', 'T'], ['T', 'V']])
    """

    edges: Edges

    def draw(self, random: np.random.Generator) -> str:
        """Return one string."""
        state: State = 0
        written = ""
        while ways := self.edges.get(state):
            symbol, state = ways[random.integers(len(ways))]
            written += symbol
        return written

    def legal(self, string: str) -> Iterator[set[str]]:
        """Yield the symbols that the grammar allows at each place of a string of its own."""
        state: State = 0
        for written in string:
            ways = dict(self.edges[state])
            yield set(ways)
            state = ways[written]

    def writes(self, string: str) -> bool:
        """Whether the grammar can write `string`, from its first symbol to its end."""
        state: State = 0
        for symbol in string:
            ways = dict(self.edges.get(state, ()))
            if symbol not in ways:
                return False
            state = ways[symbol]
        return state not in self.edges

    def levels(self) -> dict[str, dict[str, float]]:
        """Return what three predictors of each symbol after the first score, in expectation.

        One knows how often each symbol comes, one sees the symbol before, one knows the state. Each
        has its "loss", nats per symbol: the entropy of the next symbol, given what it knows; and
        "legal_symbols", how often the symbol it finds likeliest is one that the grammar allows.
        """
        visits = self._visits()
        likelihoods: dict[
            str, dict[Hashable, dict[str, float]]
        ] = {}  # by what is known, next symbols
        legal: dict[str, float] = {}
        places = list(self._places(visits))
        total = sum(count for *_, count in places)
        knows = {"chance (frequencies)": 0, "best without memory": 1, "solved": 2}
        for name, kind in knows.items():
            likelihoods[name] = defaultdict(lambda: defaultdict(float))
            for before, state, count in places:
                known = (None, before, state)[kind]
                ways = self.edges[state]
                for symbol, _ in ways:
                    likelihoods[name][known][symbol] += count / len(ways)
            legal[name] = 0.0
            for before, state, count in places:
                likely = likelihoods[name][(None, before, state)[kind]]
                best = max(likely, key=likely.__getitem__)
                legal[name] += count * (best in dict(self.edges[state]))
        return {
            name: {
                "loss": sum(_nats(row.values()) for row in likelihoods[name].values()) / total,
                "legal_symbols": legal[name] / total,
            }
            for name in knows
        }

    def _places(self, visits: Mapping[State, float]) -> Iterator[tuple[str, State, float]]:
        """Yield how often, in a string, a symbol was written and a state is left after it."""
        for state, ways in self.edges.items():
            for symbol, following in ways:
                if following in self.edges:
                    yield symbol, following, visits[state] / len(ways)

    def _visits(self) -> dict[State, float]:
        """Return how often a string passes each state: visits = first + ways^T visits."""
        states = list(self.edges)
        ways = np.zeros((len(states), len(states)))
        for state, following in self.edges.items():
            for _, next_state in following:
                if next_state in self.edges:
                    ways[states.index(state), states.index(next_state)] += 1 / len(following)
        first = np.zeros(len(states))
        first[states.index(0)] = 1
        solved = np.linalg.solve(np.eye(len(states)) - ways.T, first)
        return dict(zip(states, solved.tolist(), strict=True))


def _nats(counts: Iterable[float]) -> float:
    """Return -sum of n ln(n / N) over counts n of sum N: their entropy, N times."""
    counts = list(counts)
    return -sum(count * math.log(count / sum(counts)) for count in counts)


def _within_frames(edges: Edges) -> Edges:
    """Return the automaton of the frames BT ... TE and BP ... PE around another's strings."""
    framed: dict[State, tuple[tuple[str, State], ...]] = {
        0: (("B", "frame"),),
        "frame": (("T", ("T", 0)), ("P", ("P", 0))),
    }
    for frame in "TP":
        for state, ways in edges.items():
            framed[frame, state] = tuple((symbol, (frame, following)) for symbol, following in ways)
        framed[frame, "end"] = ((frame, "last"),)
    framed["last"] = (("E", "end"),)
    return framed


REBER = Grammar(
    {
        0: (("B", 1),),
        1: (("T", 2), ("P", 3)),
        2: (("S", 2), ("X", 4)),
        3: (("T", 3), ("V", 5)),
        4: (("X", 3), ("S", 6)),
        5: (("P", 4), ("V", 6)),
        6: (("E", "end"),),
    }
)
"""Reber's grammar."""

EMBEDDED_REBER = Grammar(_within_frames(REBER.edges))
"""Reber's grammar within a frame."""


@dataclass(frozen=True)
class Reber(Toy):
    """Strings of Reber's grammar, of which each next symbol is asked for; plain or embedded.

    Where the grammar goes on in two ways, even who knows it pays ln 2. In the embedded one, the
    last symbol but one repeats the second, however long the string between them.

    Args:
        seed: Of the examples.
        embedded: Whether the string stands within a frame.
    """

    symbols = SYMBOLS
    embedded: bool = False

    @property
    def name(self) -> str:  # type: ignore[override]  # of two problems
        """Reber or embedded-reber."""
        return "embedded-reber" if self.embedded else "reber"

    @property
    def grammar(self) -> Grammar:
        """The automaton that the strings are drawn from."""
        return EMBEDDED_REBER if self.embedded else REBER

    def _make(self, random: np.random.Generator) -> tuple[Array, Array]:
        string = np.array([SYMBOLS.index(symbol) for symbol in self.grammar.draw(random)])
        return string[:-1], string[1:]

    def levels(self) -> Levels:
        """Return the levels of frequencies, of who sees one symbol, and of who knows the grammar.

        "closed_frames" is the accuracy at the last symbol but one, between the two it can be.
        """
        levels = self.grammar.levels()
        if self.embedded:
            for name, metrics in levels.items():
                metrics["closed_frames"] = 1.0 if name == "solved" else 0.5
        return levels

    @property
    def max_time(self) -> int:
        """Few strings are longer."""
        return 30
