from unrolled.tasks.tag.letters import Alphabet, without_case


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
