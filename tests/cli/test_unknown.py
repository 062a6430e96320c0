from types import SimpleNamespace

import pytest

from unrolled.cli.unknown import known_part
from unrolled.data import LongText
from unrolled.errors import VocabularyError


def readable(text):
    unknown = [each for each in dict.fromkeys(text) if each in "Ω≈"]
    return "".join(each for each in text if each not in unknown), unknown


def test_what_a_model_has_never_seen_of_a_streamed_text_is_refused_or_left_out(tmp_path, capsys):
    (tmp_path / "text").write_text("one Ω two ≈ Ω\n" * 3, encoding="utf-8")
    text, task = LongText.open([tmp_path / "text"]), SimpleNamespace(readable=readable)
    with pytest.raises(VocabularyError, match=r"text: the model has never seen .*U\+03A9"):
        known_part(task, text, "text", skip_unknown=False)
    known = known_part(task, text, "text", skip_unknown=True)
    assert "".join(known.pieces()) == "one  two  \n" * 3
    assert "2 different characters left out" in capsys.readouterr().err
    assert known_part(task, known.until(3), "text", skip_unknown=True) is not None
