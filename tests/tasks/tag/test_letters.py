from unrolled.tasks.tag.letters import Affixes, Alphabet, affixes_of, shape_of, without_case


def test_letters_are_numbered_in_order_and_rare_ones_are_unknown() -> None:
    alphabet = Alphabet.from_words(["baba", "bx", "é", "é"])
    assert alphabet.letters == "abé"
    assert len(alphabet) == 4
    assert alphabet.encode("béax") == [2, 3, 1, 0]


def test_a_long_word_is_known_by_its_ends() -> None:
    alphabet = Alphabet("ab")
    assert alphabet.encode("a" * 32) == [1] * 32
    assert alphabet.encode("a" * 20 + "x" * 10**6 + "b" * 16) == [1] * 16 + [2] * 16


def test_case_and_digits_make_no_difference() -> None:
    assert without_case("ABc-2019") == without_case("abC-1999") == "abc-0000"
    assert without_case("ÉPOCA") == "época"


def test_affixes_are_kept_if_two_different_words_have_them() -> None:
    affixes = Affixes.from_words(["casa", "casa", "mesa", "Mata"])
    assert affixes.names == ("=x", "p:m", "s:a", "s:sa")
    assert len(affixes) == 5
    assert affixes.encode("MASA") == [2, 0, 0, 0, 3, 4, 0, 0, 0]


def test_an_affix_is_shorter_than_its_word_and_no_word_is_too_short_or_too_long() -> None:
    assert affixes_of("a") == [""] * 8 + ["=x"]
    assert affixes_of("ab")[:2] == ["p:a", ""]
    assert all(len(affixes_of(w)) == Affixes.num_kinds for w in ("a", "x-" * 10**5, "\u0130" * 9))
    assert max(map(len, affixes_of("aB" * 10**5))) <= 10


def test_a_shape_tells_capitals_digits_and_marks() -> None:
    shapes = {"Rio": "Xx", "STF": "X", "R$": "X$", "12/05": "0/0", "e-mail": "x-x", "東京": "c"}
    assert {word: shape_of(word) for word in shapes} == shapes
