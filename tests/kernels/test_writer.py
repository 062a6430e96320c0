"""A library that draws tokens is held against torch before it is used, and can be done without.

What it draws is in tests/tasks/lm/test_drawing.py.
"""

from pathlib import Path

import pytest
import torch

from unrolled import kernels
from unrolled.kernels.building import KernelError, load_library
from unrolled.kernels.emitting import call_text
from unrolled.kernels.running import writer
from unrolled.layers import LSTM, make_writer

TEXT = Path(kernels.__file__).parent.joinpath("running", "writer.c").read_text(encoding="utf-8")
WRONG = {
    "the next token": ("return last;", "return last ? last - 1 : 0;"),
    "top_k": ("MIN(w->top_k, V)", "MIN(w->top_k + 1, V)"),
    "top_p": ("reached >= w->top_p * total", "reached >= total"),
    "temperature": ("1 / w->temperature", "1"),
    "of equals the last": ("scores[v] > most", "scores[v] < most || v == 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_library_that_draws_others_is_refused(name):
    right, wrong = WRONG[name]
    assert right in TEXT
    text = f"{call_text()}\n{TEXT.replace(right, wrong)}"
    with pytest.raises(KernelError, match="draws others than torch"):
        load_library(text, "writer", writer._prove)


def test_without_a_compiler_there_is_one_warning_and_no_writer(monkeypatch):
    def refuse(*_arguments):
        raise KernelError("there is no C compiler")

    layer, scores = LSTM(5, 4), torch.nn.Linear(4, 5)
    assert make_writer(layer, None, scores, 1) is not None
    writer._library.cache_clear()
    monkeypatch.setattr(writer, "load_library", refuse)
    with pytest.warns(UserWarning, match="write more slowly"):
        assert make_writer(layer, None, scores, 1) is None
    assert make_writer(layer, None, scores, 1) is None
    writer._library.cache_clear()


class Louder(torch.nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    "given",
    [
        (LSTM(5, 4, bidirectional=True), None, torch.nn.Linear(8, 5)),
        (LSTM(5, 4), None, torch.nn.Linear(4, 6)),  # tokens that it cannot read
        (LSTM(5, 4), torch.nn.Embedding(9, 6), torch.nn.Linear(4, 9)),
        (LSTM(5, 4), torch.nn.Embedding(9, 5, max_norm=1.0), torch.nn.Linear(4, 9)),
        (LSTM(5, 4, dtype=torch.float64), None, torch.nn.Linear(4, 5, dtype=torch.float64)),
        (LSTM(5, 4), None, torch.nn.Linear(4, 5, dtype=torch.float64)),
        (LSTM(5, 4), torch.nn.Embedding(8, 5), torch.nn.Linear(4, 9)),
        (LSTM(5, 4), None, Louder(4, 5)),
        (LSTM(5, 4), None, torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(4, 5))),
    ],
)
def test_what_a_writer_would_not_do_right_has_none(given):
    assert make_writer(*given, batch_size=1) is None
