import random
import tracemalloc

import pytest

from unrolled.data.packed_examples import Joined, PackedPieces, Selected, Texts
from unrolled.tasks.classify.examples import Labelled, LabelledTexts
from unrolled.tasks.tag.conll import Sentences, TaggedSentence
from unrolled.tasks.translate.pairs import Pair, Pairs

TEXTS = ["", "café", "half of a pair \ud83d", "x" * 2_000_000, "after a large one"]


def test_pieces_are_kept_under_any_number_in_any_order():
    chance = random.Random(1)
    pieces, expected = PackedPieces(), {}
    for number in chance.sample(range(300), 200):
        expected[number] = bytes([number % 251]) * chance.choice([0, 1, 100, 30_000])
        pieces.put(number, expected[number])
    assert all(pieces.get(number) == expected.get(number) for number in range(310))


def test_texts_come_back_as_they_were():
    texts = Texts()
    for text in TEXTS:
        texts.append(text)
    assert texts == TEXTS


@pytest.mark.parametrize(
    "items", [Selected(list("abcd"), [0, 1, 2, 3]), Joined(["a", "", "bc", ["d"]])]
)
@pytest.mark.parametrize("index", [0, 3, -1, -4, slice(1, 3), slice(None, None, -2), slice(9, 2)])
def test_items_are_those_of_a_list(items, index):
    expected = list("abcd")[index]
    assert items[index] == expected
    assert [*items] == list("abcd")


@pytest.mark.parametrize("items", [Selected("ab", [0]), Joined(["a"]), Joined([]), Texts()])
def test_an_item_beyond_the_end_is_an_index_error(items):
    for index in (len(items), -len(items) - 1):
        with pytest.raises(IndexError):
            items[index]


def test_what_a_reader_makes_of_an_example_is_made_once_until_another_reader_comes():
    pairs, calls = Pairs(), []
    pairs.append(Pair("a", "b"))
    pairs.append(Pair("c", "d"))

    def read(example, reader):
        return example.as_read_by(reader, lambda: calls.append(reader) or example.source.encode())

    chosen = Selected(pairs, [1])
    for example in (pairs[1], chosen[0], pairs[-1], pairs[1:][0]):
        assert read(example, "one") == b"c"
    assert calls == ["one"]
    assert read(pairs[0], "one") == b"a"
    read(pairs[1], "two")
    read(pairs[1], "one")
    assert calls == ["one", "one", "two", "one"]
    alone = Pair("e", "f")
    assert read(alone, "one") == read(alone, "one") == b"e"
    assert calls[4:] == ["one"]


def test_a_labelled_text_comes_back_as_it_was():
    examples = [
        Labelled("a.csv, line 2", "good", "pos"),
        Labelled("a.csv, line 7", "bad \ud83d", None),
        Labelled("a.csv, line 90000", "cut", "pos", cut=True),
    ]
    packed = LabelledTexts("a.csv, line ")
    for example in examples:
        packed.append(example)
    for one, other in zip(packed, examples, strict=True):
        assert [getattr(one, name) for name in Labelled.__match_args__] == [
            getattr(other, name) for name in Labelled.__match_args__
        ]


def _labelled(lines):
    packed = LabelledTexts("a.csv, line ")
    for number, line in enumerate(lines):
        packed.append(Labelled(f"a.csv, line {number}", line, "ab"[number % 2]))
    return packed


def _pairs(lines):
    packed = Pairs()
    for line in lines:
        packed.append(Pair(line[:50], line[50:]))
    return packed


def _tagged(lines):
    return Sentences(TaggedSentence(tuple(line.split()), ("A",) * 10) for line in lines)


@pytest.mark.parametrize("pack", [_labelled, _pairs, _tagged])
def test_examples_take_little_more_memory_than_their_file(pack):
    chance = random.Random(2)
    words = [f"word{number:04}" for number in range(1000)]
    lines = [" ".join(chance.choices(words, k=10)) for _ in range(3000)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        packed = pack(lines)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(packed) == len(lines)
    assert after - before < 1.4 * sum(map(len, lines))  # a text by itself has 49 bytes more
