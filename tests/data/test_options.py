"""Which parts of the data choose and measure a model."""

import pytest

from unrolled.data import PartOptions
from unrolled.errors import OptionError


def test_a_part_is_a_tenth_unless_it_is_said_or_a_file_takes_its_place():
    options = PartOptions()
    assert (options.fraction("held_out"), options.fraction("test")) == (0.1, 0.1)
    options = PartOptions(held_out=0.25, test=0.0)
    assert (options.fraction("held_out"), options.fraction("test")) == (0.25, 0.0)
    options = PartOptions(held_out_file="a.txt", test=0.5)
    assert (options.fraction("held_out"), options.fraction("test")) == (0.0, 0.5)


@pytest.mark.parametrize("part", ["held_out", "test"])
def test_a_part_that_is_given_twice_is_refused(part):
    twice = {part: 0.1, f"{part}_file": "a.txt"}
    with pytest.raises(OptionError, match=f"{part} and {part}_file: a part of the data or a file"):
        PartOptions(**twice)


def test_files_mean_the_same_in_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = PartOptions(held_out_file="a.txt", test_file="../b.txt")
    assert options.held_out_file == str(tmp_path / "a.txt")
    assert options.test_file == str(tmp_path.parent / "b.txt")
