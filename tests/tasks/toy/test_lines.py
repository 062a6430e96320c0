import re

import numpy as np
import pytest

from unrolled.data import IGNORE
from unrolled.errors import DataError
from unrolled.tasks.toy.lines import parse_answers, parse_inputs
from unrolled.tasks.toy.problems import Adding, Echo, Hello
from unrolled.tasks.toy.reber import Reber


def test_values_and_their_marks_are_read():
    np.testing.assert_allclose(
        parse_inputs(Adding(), " 0.5 0.25*\t1e-1* ", "x"), [[0.5, 0], [0.25, 1], [0.1, 1]]
    )
    inputs, target = parse_answers(Adding(), "0.5* 0.25*\t0.75", "x")
    assert inputs.shape == (2, 2)
    assert target == np.float32(0.75)


def test_symbols_and_their_answers_are_read():
    assert parse_inputs(Hello(), "hell", "x").tolist() == [0, 1, 2, 2]
    inputs, targets = parse_answers(Echo(), "ab_\t.ab", "x")
    assert inputs.tolist() == [0, 1, 4]
    assert targets.tolist() == [IGNORE, 0, 1]
    inputs, targets = parse_answers(Reber(), "BTXS\tTXSE", "x")
    assert inputs[1:].tolist() == targets[:-1].tolist()


@pytest.mark.parametrize(
    ("toy", "line", "message"),
    [
        (Hello(), "hell", "f, line 3: no tab"),
        (Hello(), "\tello", "f, line 3: empty"),
        (Hello(), "help\tello", "f, line 3: unknown symbol 'p' (there are helo)"),
        (Hello(), "hell\tell", "f, line 3: 4 inputs, but 3 answers"),
        (Hello(), "hell\t....", "f, line 3: no answer is asked for"),
        (Adding(), "0.5 x\t1", "f, line 3: not a number: 'x'"),
        (Adding(), "0.5 nan\t1", "f, line 3: nan is not a finite number"),
        (Adding(), "0.5\tinf", "f, line 3: inf is not a finite number"),
        (Adding(), "0.5\t", "f, line 3: not a number: ''"),
        (Reber(), "BTXX\tTXXE", "f, line 3: 'BTXXE' is no string of the grammar"),
        (Reber(), "BTX\tTXS", "f, line 3: 'BTXS' is no string of the grammar"),
    ],
)
def test_lines_that_cannot_be_read_are_named(toy, line, message):
    with pytest.raises(DataError, match=re.escape(message)):
        parse_answers(toy, line, "f, line 3")
