"""Tables with media and words: each row is used, or said why not."""

import numpy as np
import pytest
import soundfile
from PIL import Image

from unrolled.data.options import MediumOptions
from unrolled.errors import DataError
from unrolled.tasks.caption.captions import join_words, read_captions, words_of

OPTIONS = MediumOptions(picture_size=8)


@pytest.fixture
def table(tmp_path):
    """Write a table of three pictures with the given rows."""
    for colour in ("red", "lime", "blue"):
        Image.new("RGB", (4, 4), colour).save(tmp_path / f"{colour}.png")

    def write(*rows: str, name: str = "table.tsv"):
        path = tmp_path / name
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
        return path

    return write


def read(path, **options):
    return read_captions(path, "file", "words", OPTIONS, **options)


def test_examples_have_the_picture_and_the_words(table):
    captions = read(table("file\twords", "red.png\tA red square.", "blue.png\t blue "))
    assert [example.words for example in captions.examples] == [
        (" A", " red", " square", "."),
        (" blue",),
    ]
    assert captions.examples[0].content[:, 0, 0].tolist() == [255, 0, 0]
    assert [example.key for example in captions.examples] == ["A red square.", "blue"]
    assert captions.notes == []


def test_paths_start_where_the_table_is_unless_told(table, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    path = table("file\twords", "red.png\tred")
    moved = path.rename(tmp_path / "elsewhere" / "table.tsv")
    assert len(read(moved, folder=tmp_path).examples) == 1
    with pytest.raises(DataError, match=r"table\.tsv, line 2: .*red\.png: no such file"):
        read(moved)


def test_a_column_can_say_what_stays_together(table):
    path = table("file\twords\tseries", "red.png\tred\tA", "blue.png\tblue\tB")
    assert [example.key for example in read(path, key="series").examples] == ["A", "B"]


def test_rows_without_a_file_or_words_are_counted(table):
    path = table("file\twords", "red.png\tred", "\tnothing", "blue.png\t  ", "lime.png\tgreen")
    captions = read(path)
    assert len(captions.examples) == 2
    assert captions.notes == [f"{path}: left out 2 rows without a file or without words"]


def test_animations_are_counted(table, tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime")]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    captions = read(table("file\twords", "film.gif\tred"))
    assert captions.notes[0].endswith("of 1 animations the first picture was taken")


def test_pictures_among_recordings_are_named(table, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16_000)
    path = table("file\twords", "red.png\tred", "a.wav\tnothing")
    message = r"table\.tsv, line 3: a\.wav is a recording, the rows before it have a picture"
    with pytest.raises(DataError, match=message):
        read(path)


def test_a_damaged_file_is_named_with_its_line(table, tmp_path):
    content = (tmp_path / "lime.png").read_bytes()
    (tmp_path / "lime.png").write_bytes(content[:-20])
    path = table("file\twords", "red.png\tred", "lime.png\tgreen")
    with pytest.raises(DataError, match=r"table\.tsv, line 3: .*lime\.png: the picture is damaged"):
        read(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["path\twords", "red.png\tred"], r"no column 'file'; there are 'path', 'words'"),
        (["file\twords", "red.png"], r"line 2: 1 field, but the header has 2"),
        (["file\twords", "\tred", "red.png\t"], "no row has both 'file' and 'words'"),
        (["file\twords"], "no rows"),
    ],
    ids=["no column", "no tab", "all empty", "no rows"],
)
def test_a_table_that_cannot_be_used_says_why(table, rows, message):
    with pytest.raises(DataError, match=message):
        read(table(*rows))


def bad_table(table, tmp_path):
    (tmp_path / "a.html.jpg").write_text("<!DOCTYPE html><p>404")
    (tmp_path / "empty.png").touch()
    names = ["red.png", "a.html.jpg", "blue.png", "lost.png", "empty.png"]
    return table("file\twords", *(f"{name}\tword {name}" for name in names))


def test_all_files_that_cannot_be_used_are_named_together(table, tmp_path):
    with pytest.raises(DataError) as caught:
        read(bad_table(table, tmp_path))
    for part in ("3 rows", "line 3: ", "is HTML", "line 5: ", "no such file", "line 6: ", "empty"):
        assert part in caught.value.message
    assert "skip_bad" in caught.value.hint


def test_bad_files_are_left_out_and_counted_where_that_is_wanted(table, tmp_path):
    captions = read(bad_table(table, tmp_path), skip_bad=True)
    assert [example.name for example in captions.examples] == ["red.png", "blue.png"]
    assert "left out 3 of 5 rows, whose files cannot be used" in captions.notes[0]
    assert "line 3: " in captions.notes[0]
    path = table("file\twords", "lost.png\ta", "gone.png\tb")
    with pytest.raises(DataError, match="2 rows have files that cannot be used"):
        read(path, skip_bad=True)


def test_mixed_encodings_are_named_with_their_place(table):
    path = table("file\twords", "red.png\tvermelho")
    path.write_bytes(path.read_bytes() + "lime.png\tmaçã\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"table\.tsv: not utf-8 text in line 3"):
        read(path)


def test_a_row_of_100000_words_is_refused_by_its_line(table):
    path = table("file\twords", "red.png\tred", "blue.png\t" + "word " * 100_000)
    with pytest.raises(DataError, match="line 3: 100,000 words, a caption has at most 500"):
        read(path)


def test_words_that_are_no_text_are_refused_by_their_line(table):
    path = table('{"file": "red.png", "words": 7}', name="table.jsonl")
    with pytest.raises(DataError, match="line 1: 'words' must be text, got 7"):
        read(path)


TEXTS = ["An albino peahen (a female peafowl, or peacock).", "flag: Brazil", "A happy lion!", "5 %"]


@pytest.mark.parametrize(
    "text",
    [
        *TEXTS,
        'The 10:30 train costs $3.50, says "Bob".',
        "¡Hola! Un café — C++ 1,000",
        "आधुनिक हिन्दी",
        "我们 走",
        "two  blanks\nand\ta line",
        "👨‍👩‍👧 ' ) (",
    ],
)
def test_a_caption_is_written_as_the_table_has_it(text):
    assert join_words(words_of(text)) == text


@pytest.mark.parametrize("text", TEXTS)
def test_words_of_older_runs_are_joined_as_people_write_them(text):
    assert join_words(words_of(text, version=1), version=1) == text.replace(" %", "%")
