"""What `generate` goes on from, and where it stops."""

import io
import sys

import pytest


def test_a_file_or_the_standard_input_is_continued(unrolled, trained, tmp_path, monkeypatch):
    asked = ("--length", 20, "--seed", 3)
    by_option = unrolled("generate", trained, "--prompt", "7 bottles\nof", *asked)
    (tmp_path / "prompt.txt").write_text("7 bottles\nof\n")
    by_file = unrolled("generate", trained, "--prompt-file", "prompt.txt", *asked)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"7 bottles\nof\n")))
    by_stdin = unrolled("generate", trained, "--prompt-file", "-", *asked)
    assert by_option.out.startswith("7 bottles\nof")
    assert by_option == by_file == by_stdin


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prompt", ""], "--prompt is empty"),
        (["--prompt", "7", "--prompt-file", "-"], "give --prompt or --prompt-file, one of the two"),
        (["--prompt-file", "nowhere"], "nowhere: cannot be read"),
        (["--prompt", "é 日"], "--prompt: the model has never seen 'é' (U+00E9), '日' (U+65E5)"),
        (["--prompt", "日", "--skip-unknown"], "--prompt: nothing to continue"),
        (["--until", ""], "--until is empty"),
        (["--samples", 0], "--samples must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_continued_is_one_line(unrolled, trained, words, message):
    done = unrolled("generate", trained, *words)
    assert (done.code, done.out) == (1, "")
    assert f"unrolled: error: {message}" in done.err
    assert "Traceback" not in done.err


def test_unknown_characters_are_left_out_when_that_is_asked_for_and_counted(unrolled, trained):
    asked = ("--length", 10, "--seed", 3)
    refused = unrolled("generate", trained, "--prompt", "7 é botéles", *asked)
    assert "hint: leave them out, or add --skip-unknown" in refused.err
    done = unrolled("generate", trained, "--prompt", "7 é botéles", "--skip-unknown", *asked)
    assert done.out == unrolled("generate", trained, "--prompt", "7  botles", *asked).out
    assert done.err == "note: 2 characters left out that the model has never seen: 'é' (U+00E9)\n"


def test_a_text_ends_where_it_is_told_to(unrolled, trained):
    asked = ("--prompt", "7", "--seed", 3, "--length", 400)
    whole = unrolled("generate", trained, *asked).out
    for end in (whole[60], whole[60:63], whole[200:230]):
        expected = whole[: whole.index(end, 1) + len(end)]
        assert unrolled("generate", trained, *asked, "--until", end).out == expected
    line = unrolled("generate", trained, *asked, "--until", r"\n").out
    assert line == whole[: whole.index("\n") + 1]
    assert unrolled("generate", trained, *asked, "--until", "never").out == whole


def test_samples_are_texts_of_their_own(unrolled, trained):
    asked = ("--prompt", "7", "--length", 30)
    done = unrolled("generate", trained, *asked, "--seed", 5, "--samples", 3)
    alone = [unrolled("generate", trained, *asked, "--seed", seed).out for seed in (5, 6, 7)]
    texts = [f"--- {n} of 3 ---\n{text}" for n, text in enumerate(alone, 1)]
    joined = "".join(t if t.endswith("\n") else f"{t}\n" for t in texts[:-1]) + texts[-1]
    assert done.out == joined
    assert len(set(alone)) == 3
