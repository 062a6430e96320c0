import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from unrolled.data import IGNORE
from unrolled.errors import OptionError
from unrolled.tasks.toy.problems import Adding, CopyMemory, Echo, Hello, make_toy
from unrolled.tasks.toy.reber import EMBEDDED_REBER, REBER, SYMBOLS, Reber

ALL = [
    Adding(length=30),
    CopyMemory(length=30),
    Echo(length=30, delay=3),
    Reber(),
    Reber(embedded=True),
    Hello(),
]
name = pytest.mark.parametrize("toy", ALL, ids=lambda toy: toy.name)
CHANCE, SOLVED = 0, -1  # places of the levels


def level(toy, place):
    return list(toy.levels().values())[place]


@name
def test_an_example_depends_on_the_seed_and_its_number_alone(toy):
    again = type(toy)(**vars(toy))
    toy.example(4)  # no trace
    for one, other in zip(toy.example(3), again.example(3), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("toy", [toy for toy in ALL if toy.name != "hello"], ids=lambda t: t.name)
def test_other_seeds_and_other_numbers_give_other_examples(toy):
    other = type(toy)(**{**vars(toy), "seed": 1})

    def content(toy, numbers):
        return [tuple(np.ravel(toy.example(number)[0])) for number in numbers]

    assert content(toy, range(8)) != content(other, range(8))
    assert content(toy, range(8)) != content(toy, range(8, 16))


@name
def test_targets_belong_to_the_steps(toy):
    inputs, targets = toy.example(0)
    if toy.symbols:
        assert inputs.dtype == targets.dtype == np.int64
        assert inputs.shape == targets.shape
        assert set(inputs) | set(targets) <= {*range(len(toy.symbols)), IGNORE}
    else:
        assert inputs.dtype == targets.dtype == np.float32
        assert targets.shape == ()


def test_the_sum_is_that_of_two_marked_values():
    for number in range(50):
        inputs, target = Adding(length=7).example(number)
        assert sorted(inputs[:, 1]) == [0] * 5 + [1, 1]
        np.testing.assert_allclose(target, inputs[inputs[:, 1] == 1, 0].sum(), rtol=1e-6)


def test_who_always_answers_one_is_as_wrong_as_stated():
    toy = Adding(length=2)  # the same two values whatever the length
    errors = np.array([toy.example(n)[1] for n in range(20_000)]) - 1
    chance = level(toy, CHANCE)
    assert chance["loss"] == pytest.approx(1 / 6)  # 2 / 12: of two uniform values
    assert np.square(errors).mean() == pytest.approx(1 / 6, rel=0.03)
    assert (np.abs(errors) <= 0.04).mean() == pytest.approx(chance["correct_sums"], rel=0.1)


def test_what_was_copied_was_read_and_the_blanks_are_blank():
    toy = CopyMemory(length=5)
    inputs, targets = toy.example(0)
    assert len(inputs) == 25
    assert inputs[10:].tolist() == [0] * 4 + [9] * 11
    assert targets.tolist() == [0] * 15 + inputs[:10].tolist()
    seen = {symbol for number in range(50) for symbol in toy.example(number)[0][:10].tolist()}
    assert seen == set(range(1, 9))


def test_chance_of_copy_memory_is_that_of_the_paper():
    # Bai et al. (2018): 10 ln 8 / (T + 20)
    assert level(CopyMemory(length=1000), CHANCE)["loss"] == pytest.approx(0.0203867, rel=1e-4)


def test_the_echo_comes_after_its_delay():
    inputs, targets = Echo(length=9, delay=4).example(0)
    assert inputs[9:].tolist() == [4] * 4
    assert targets.tolist() == [IGNORE] * 4 + inputs[:9].tolist()
    now, echo = Echo(length=9, delay=0).example(0)
    assert now.tolist() == echo.tolist()


def test_hello_is_hello():
    assert level(Hello(), CHANCE) == {"loss": pytest.approx(1.0397, abs=1e-4), "accuracy": 0.5}
    assert Hello().levels()["best without memory"] == {
        "loss": pytest.approx(0.34657, abs=1e-5),
        "accuracy": 0.75,
    }


@pytest.mark.parametrize("embedded", [False, True])
def test_strings_are_those_of_the_grammar(embedded):
    toy = Reber(embedded=embedded)
    for number in range(50):
        inputs, targets = toy.example(number)
        string = "".join(SYMBOLS[i] for i in [inputs[0], *targets])
        assert inputs[1:].tolist() == targets[:-1].tolist()
        assert all(c in legal for c, legal in zip(string, toy.grammar.legal(string), strict=True))
        assert string[0] + string[-1] == "BE"
        if embedded:
            assert string[1] == string[-2] in "TP"
            assert string[2] + string[-3] == "BE"


def test_levels_of_the_grammars_are_those_of_arithmetic_by_hand():
    # A string passes states 1, 2, 4 and 5 once and 3 twice, with two ways from each; E is certain.
    assert level(Reber(), SOLVED) == {
        "loss": pytest.approx(6 * math.log(2) / 7),
        "legal_symbols": 1,
    }
    # B, the two of the frame and E are added: one choice, ten symbols more or less certain
    solved = level(Reber(embedded=True), SOLVED)
    assert solved == {
        "loss": pytest.approx(7 * math.log(2) / 11),
        "legal_symbols": 1,
        "closed_frames": 1,
    }
    # after B, T or P; of 7 symbols T is 1.5, S 1, X 1, V 1.5, P 1, E 1
    counts = [1.5, 1, 1, 1.5, 1, 1]
    chance = -sum(n / 7 * math.log(n / 7) for n in counts)
    assert level(Reber(), CHANCE)["loss"] == pytest.approx(chance)


@pytest.mark.parametrize("grammar", [REBER, EMBEDDED_REBER], ids=["plain", "embedded"])
def test_levels_are_what_counting_finds(grammar):
    random = np.random.default_rng(0)
    strings = [grammar.draw(random) for _ in range(20_000)]
    pairs = Counter(pair for string in strings for pair in pairwise(string))
    total = sum(pairs.values())
    before, after = Counter(), Counter()
    for (x, y), count in pairs.items():
        before[x] += count
        after[y] += count
    known = {
        "chance (frequencies)": -sum(n * math.log(n / total) for n in after.values()),
        "best without memory": -sum(n * math.log(n / before[x]) for (x, _), n in pairs.items()),
        "solved": sum(
            math.log(len(legal)) for string in strings for legal in list(grammar.legal(string))[1:]
        ),
    }
    for name, level in grammar.levels().items():
        assert level["loss"] == pytest.approx(known[name] / total, rel=0.01)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adding(length=1), r"adding: length \(values to read\) must be at least 2, got 1"),
        (lambda: CopyMemory(length=0), r"copy: length \(blanks\) must be at least 1, got 0"),
        (lambda: Echo(length=0), r"echo: length \(symbols\) must be at least 1, got 0"),
        (lambda: Echo(delay=-1), r"echo: delay \(steps\) must be at least 0, got -1"),
        (lambda: Reber(seed=-1), "reber: seed must be at least 0, got -1"),
        (lambda: make_toy("rebber"), r"no problem 'rebber', .* \(did you mean reber\?\)"),
        (lambda: make_toy("hello", length=3), "length is for adding and copy and echo, but the"),
        (lambda: make_toy("copy", delay=3), "delay is for echo, but the problem is copy"),
    ],
)
def test_problems_without_an_answer_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
