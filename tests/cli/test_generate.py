"""What `generate` goes on from, and where it stops."""

import io
import json
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
        (["--samples", 0], "--samples must be in [1, 100000], got 0"),
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


def test_what_was_never_seen_is_left_out_of_what_is_predicted_and_measured(
    unrolled, trained, tmp_path
):
    (tmp_path / "new.txt").write_text("7 béottles of 日beer\n8 bottles\n")
    (tmp_path / "known.txt").write_text("7 bottles of beer\n8 bottles\n")
    for command in ("predict", "evaluate"):
        refused = unrolled(command, trained, "new.txt")
        assert refused.code == 1
        assert "--skip-unknown" in refused.err
        assert "new.txt" in refused.err
        done = unrolled(command, trained, "new.txt", "--json", "--skip-unknown")
        assert done.code == 0, done.err
        known = unrolled(command, trained, "known.txt", "--json")
        if command == "evaluate":
            assert done.out == known.out
            assert done.err.startswith("note: 2 characters left out that the model has never seen")
        else:
            first, second = map(json.loads, done.out.splitlines())
            same, other = map(json.loads, known.out.splitlines())
            assert first.pop("unknown") == ["é", "日"]
            assert (first.pop("text"), same.pop("text"))[0] == "7 béottles of 日beer"
            assert (first, second) == (same, other)
            assert done.err == (
                "note: 1 input had characters that the model has never seen, which were left out\n"
            )


def test_only_texts_of_a_language_model_have_characters_that_it_has_never_seen(unrolled, tmp_path):
    assert unrolled("train", "toy", "hello", "--updates", 1, "--run", "t").code == 0
    (tmp_path / "x").write_text("hell\tello\n")
    refused = unrolled("evaluate", "t", "x", "--skip-unknown")
    assert "--skip-unknown is not for runs of toy" in refused.err


def test_files_that_could_not_be_used_are_counted(unrolled, tmp_path):
    pictures = pytest.importorskip("PIL.Image")
    for name, colour in (("red", (200, 0, 0)), ("blue", (0, 0, 200))):
        (tmp_path / "all" / name).mkdir(parents=True)
        for n in range(5):
            one = pictures.new("RGB", (8, 8), (colour[0] + n, 0, colour[2] + n))
            one.save(tmp_path / "all" / name / f"{n}.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG and no more")
    small = ("--updates", 1, "--hidden-size", 2, "--picture-size", 16, "--channels", 4)
    done = unrolled("train", "classify", "all", "--run", "r", *small, "--held-out", 0, "--test", 0)
    assert done.code == 0, done.err
    assert unrolled("predict", "r", "bad.png").code == 1
    done = unrolled("predict", "r", "bad.png", "--skip-bad")
    assert done.code == 0
    assert done.out.endswith("\tbad.png\n")
    assert done.err.startswith("note: 1 input could not be used; the first: bad.png")
