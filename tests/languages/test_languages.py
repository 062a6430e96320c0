"""The words of the page: every language says the same things, and one more is one more file."""

import json
import re
from pathlib import Path

import pytest

import unrolled.languages
from unrolled.errors import OptionError
from unrolled.languages import best_language, fill, language_names, load_words

FOLDER = Path(unrolled.languages.__path__[0])
CODES = sorted(path.stem for path in FOLDER.glob("*.json"))
BY_LETTER = ("names", "sentences", "units")  # a language may have words for more or fewer


def read(code):
    return json.loads((FOLDER / f"{code}.json").read_text(encoding="utf-8"))


def places(words, path=()):
    """What stands in braces in each text, by where the text is."""
    if isinstance(words, str):
        yield path, sorted(set(re.findall(r"\{(\w+)\}", words)))
    elif isinstance(words, list):
        for number, each in enumerate(words):
            yield from places(each, (*path, number))
    else:
        for key, each in words.items():
            yield from places(each, (*path, key))


def general(words):
    """A language's texts without what it says differently of some units."""
    found = {}
    for path, names in places(words):
        if path[-1] in ("character", "word", "token", "step", "other"):
            path = path[:-1]
        found.setdefault(path, set()).update(names)
    return found


@pytest.mark.parametrize("code", [code for code in CODES if code != "en"])
def test_a_language_of_ours_says_all_that_english_does_with_the_same_values(code):
    english, other = general(read("en")), general(read(code))
    of_all = {path for path in english if path[0] not in BY_LETTER}
    assert of_all == {path for path in other if path[0] not in BY_LETTER}
    for path in of_all:
        # a word that the language inflects by its unit need not be put in
        assert english[path] - {"unit", "units"} == other[path] - {"unit", "units"}, path


def test_brazilian_portuguese_is_there_under_its_code():
    assert language_names().items() >= {"en": "English", "pt-BR": "Português"}.items()
    words = load_words("pt-BR")
    assert words["decimal"] == ","
    text = json.dumps(words, ensure_ascii=False)
    foreign = r"\bpartilh|reinício|núcleo|mudar de vista|se soma|\bseu c\b"
    assert not re.search(foreign, text), re.search(foreign, text)
    assert not re.search(r"\d\.\d", text)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ("pt-BR", "pt-BR"),
        ("pt", "pt-BR"),
        ("pt-PT,en;q=0.5", "pt-BR"),
        ("de-DE, en-GB;q=0.8, pt;q=0.5", "en"),
        ("PT-br", "pt-BR"),
        ("de", "en"),
        ("", "en"),
        (";;,,", "en"),
    ],
)
def test_a_browser_gets_the_first_of_its_languages_that_there_is(wanted, code):
    assert best_language(wanted) == code


@pytest.fixture
def klingon(tmp_path, monkeypatch):
    """A further language, that has words for a few things only."""
    for code in CODES:
        (tmp_path / f"{code}.json").write_text(json.dumps(read(code)))
    own = {"name": "tlhIngan Hol", "close": "SoQ", "verdict": {"kinds": {"healthy": "pIv"}}}
    (tmp_path / "tlh.json").write_text(json.dumps(own))
    monkeypatch.setattr(unrolled.languages, "_FOLDER", tmp_path)


def test_a_new_language_is_one_file_and_the_rest_is_english(klingon):
    assert language_names()["tlh"] == "tlhIngan Hol"
    words = load_words("tlh")
    assert (words["close"], words["theme"]) == ("SoQ", load_words("en")["theme"])
    assert words["verdict"]["kinds"]["healthy"] == "pIv"
    assert words["verdict"]["kinds"]["fading"] == "Fading"


def test_what_is_no_language_is_refused():
    with pytest.raises(OptionError, match=r"no language 'xx'; there are: en .*pt-BR"):
        load_words("xx")


def test_a_place_without_a_value_stays():
    assert fill("{a} of {b}", {"a": 1}) == "1 of {b}"
