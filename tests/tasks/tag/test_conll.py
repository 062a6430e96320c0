from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import DataError, OptionError
from unrolled.tasks.tag.conll import TaggedSentence, looks_like_conll, parse_conll, read_conll

CONLLU = """\
# sent_id = 1
# text = Vou ao cinema
1	Vou	ir	VERB	_	Mood=Ind	0	root	_	_
2-3	ao	_	_	_	_	_	_	_	_
2	a	a	ADP	_	_	4	case	_	_
3	o	o	DET	_	_	4	det	_	_
3.1	_	_	_	_	_	_	_	_	_
4	cinema	cinema	NOUN	_	Gender=Masc	1	obl	_	SpaceAfter=No

# sent_id = 2
1	10 000	10000	NUM	_	_	0	root	_	_
"""

BIO = "Maria B-PER\nda I-PER\n\nRio\tB-LOC\n"


def test_conllu_gives_syntactic_words_and_counts_what_it_leaves_out(write) -> None:
    sentences, notes = read_conll(write("a.conllu", CONLLU))
    assert sentences == [
        TaggedSentence(("Vou", "a", "o", "cinema"), ("VERB", "ADP", "DET", "NOUN")),
        TaggedSentence(("10 000",), ("NUM",)),
    ]
    assert [note.split(": ", 1)[1] for note in notes] == [
        "1 lines of multiword tokens (N-M) left out; the words they stand for are read",
        "1 empty nodes (N.1) left out: they are no words of the text",
    ]


def test_conllu_is_known_by_its_content_and_has_columns_by_name(write) -> None:
    sentences, _ = read_conll(write("a.txt", CONLLU), "DEPREL")
    assert sentences[0].tags == ("root", "case", "det", "obl")


def test_words_with_an_underscore_for_a_tag_are_counted(write) -> None:
    _, notes = read_conll(write("a.conllu", CONLLU), "feats")
    assert "3 words have the tag _ (none)" in notes[-1]


def test_conllu_plus_names_its_own_columns(write) -> None:
    content = "# global.columns = ID FORM UPOS MINE\n1\tRio\tPROPN\tB-LOC\n"
    sentences, _ = read_conll(write("a.conllup", content), "mine")
    assert sentences == [TaggedSentence(("Rio",), ("B-LOC",))]


def test_columns_may_be_separated_by_tabs_or_blanks_and_the_last_line_may_lack_its_end(
    write,
) -> None:
    expected = [
        TaggedSentence(("Maria", "da"), ("B-PER", "I-PER")),
        TaggedSentence(("Rio",), ("B-LOC",)),
    ]
    for content in (BIO, BIO.rstrip("\n"), BIO + "\n\n", BIO.replace("\n", "\r\n")):
        assert read_conll(write("a.conll", content)) == (expected, [])


def test_conll_2003_has_pos_chunk_and_ner(write) -> None:
    content = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n"
    path = write("eng.train", content)
    for column, tags in {
        None: ("B-ORG", "O"),
        "ner": ("B-ORG", "O"),
        "pos": ("NNP", "VBZ"),
        "chunk": ("B-NP", "B-VP"),
        "2": ("NNP", "VBZ"),
    }.items():
        sentences, notes = read_conll(path, column)
        assert sentences == [TaggedSentence(("EU", "rejects"), tags)]
        assert notes == [f"{path}: 1 lines -DOCSTART- left out"]


def test_a_byte_order_mark_is_no_part_of_the_first_word(write) -> None:
    sentences, _ = read_conll(write("a.conll", b"\xef\xbb\xbfRio B-LOC\nbom O\n"))
    assert sentences[0].words == ("Rio", "bom")


def test_a_number_sign_is_a_word_where_words_stand_and_a_comment_elsewhere(write) -> None:
    content = "# id = 7\n#1 O\nfoi O\n# O\n\n#begin document (x); part 0\n# O\n"
    sentences, _ = read_conll(write("a.conll", content), None)
    assert [s.words for s in sentences] == [("#1", "foi", "#"), ("#",)]


def test_only_tabs_blanks_and_line_ends_separate(write) -> None:
    content = "a\u00a0b O\nc\u2028d O\ne\x85f B-X\n"
    sentences, _ = read_conll(write("a.conll", content))
    assert sentences[0].words == ("a\u00a0b", "c\u2028d", "e\x85f")
    sentences, _ = read_conll(write("b.conll", "New York\tB-LOC\nis\tO\n"))
    assert sentences[0].words == ("New York", "is")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Rio B-LOC\nbom\n", "line 2: 2 columns between tabs or blanks expected, got 1: 'bom'"),
        ("Rio B-LOC\n\nbom O O\n", "line 3: 2 columns between tabs or blanks expected, got 3"),
        ("Rio\tB-LOC\nbom\t\n", "line 2: the tag is empty"),
        ("Rio\tB-LOC\n\tO\n", "line 2: the word is empty"),
        ("Rio\nbom\n", "line 1: a word and its tag expected"),
        ("\n\n\n", "no word in it"),
        ("# text = only a comment\n", "no word in it"),
    ],
)
def test_a_broken_line_of_columns_is_named(write, content: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        read_conll(write("bad.conll", content))
    assert "bad.conll" in error.value.message
    assert message in error.value.message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1\tVou\tir", "1 Vou ir", "line 3: 10 columns between tabs expected, got 8"),
        ("\t_\t_\n3\to", "\t_\n3\to", "line 5: 10 columns between tabs expected, got 9"),
        ("\n\n# sent_id = 2", "\n# sent_id = 2", "line 9: 10 columns between tabs expected, got 1"),
        ("\n\n# sent_id = 2", "", "line 9: word 5 of its sentence expected, got '1'"),
        ("4\tcinema", "x\tcinema", "line 8: word 4 of its sentence expected, got 'x'"),
        ("\tDET\t", "\t\t", "line 6: the tag is empty"),
        ("\tVou\tir", "\t\tir", "line 3: the word is empty"),
    ],
)
def test_a_broken_line_of_conllu_is_named(write, old: str, new: str, message: str) -> None:
    assert old in CONLLU
    with pytest.raises(DataError) as error:
        read_conll(write("bad.conllu", CONLLU.replace(old, new, 1)))
    assert f"bad.conllu, {message}" in error.value.message


def test_a_missing_column_is_named_with_those_there_are(write) -> None:
    with pytest.raises(OptionError, match=r"no column 'ner' of tags in CoNLL-U \(it has lemma, up"):
        read_conll(write("a.conllu", CONLLU), "ner")
    for column in ("upos", "1", "3", "0", "-1"):
        with pytest.raises(OptionError, match=r"among 2 columns \(a number from 2 to 2, or ner"):
            read_conll(write("a.conll", BIO), column)
    with pytest.raises(DataError, match="column xpos is empty"):
        read_conll(write("a.conllu", CONLLU), "xpos")


def test_another_encoding_is_an_error_with_its_line_or_is_read_as_told(write) -> None:
    path = write("a.conll", BIO.encode() + "é O\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.conll: not utf-8 text in line 5, at byte 32 of"):
        read_conll(path)
    sentences, _ = read_conll(path, encoding="latin-1")
    assert sentences[-1].words == ("Rio", "é")
    with pytest.raises(DataError, match="NUL at byte 3 in line 1"):
        read_conll(write("b.conll", b"Rio\0 O\n"))
    with pytest.raises(DataError, match="no such file"):
        read_conll(path.with_name("none.conll"))


def test_a_sentence_that_does_not_end_is_an_error_with_its_line(write) -> None:
    with pytest.raises(DataError, match=r"a\.conll, line 5001: a sentence of over 5,000 words"):
        read_conll(write("a.conll", "word O\n" * 100_000))
    [sentence], _ = read_conll(write("b.conll", "word O\n" * 5_000))
    assert len(sentence.words) == 5_000


def test_words_alone_are_enough_to_predict_from() -> None:
    assert [s.words for s in parse_conll(["a", "b", "", "c"], "x.conll", tagged=False)] == [
        ("a", "b"),
        ("c",),
    ]
    assert [s.tags for s in parse_conll(BIO.splitlines(), "x.conll", tagged=False)] == [(), ()]


def test_a_sentence_comes_as_soon_as_it_has_ended() -> None:
    def lines():
        yield "a O"
        yield ""
        raise AssertionError("read on")

    assert next(parse_conll(lines(), "x.conll")).words == ("a",)


words = st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=5).filter(
    lambda word: not word.startswith(("#", "-DOCSTART-", "\ufeff"))
)


@given(st.lists(st.lists(st.tuples(words, words), min_size=1, max_size=4), min_size=1, max_size=4))
def test_what_was_written_is_read(sentences: list[list[tuple[str, str]]]) -> None:
    lines = [f"{word}\t{tag}\n" for sentence in sentences for word, tag in (*sentence, ("", ""))]
    lines = ["" if line == "\t\n" else line for line in lines]
    read = [list(zip(s.words, s.tags, strict=True)) for s in parse_conll(lines, "a.conll")]
    assert read == sentences


def test_real_files_have_as_many_words_as_their_readme_says(shared_data: Path) -> None:
    folder = shared_data / "tagging"
    counts = {"ud-pt-bosque/pt_bosque-ud-test.conllu": (1167, 27604), "lener-br/test.conll": 1389}
    for name, count in counts.items():
        sentences, _ = read_conll(folder / name)
        num_words = Counter(len(sentence.words) for sentence in sentences)
        total = sum(size * times for size, times in num_words.items())
        assert count in (len(sentences), (len(sentences), total))


@pytest.mark.parametrize(
    "comment",
    [
        "# id 0001-4df4-8384\tdomain=en",
        "# id 0001-4df4-8384 domain=en",
        "#doc7 and more",
        "# doc\t7\tand\tmore",
        "# a b c",
    ],
)
def test_a_comment_of_as_many_fields_as_words_have_columns_is_no_word(write, comment) -> None:
    content = f"{comment}\ndoris _ _ B-Artist\nday _ _ I-Artist\n\n{comment}\nrio _ _ O\n"
    sentences, _ = read_conll(write("m.conll", content))
    assert [s.words for s in sentences] == [("doris", "day"), ("rio",)]
    assert {tag for s in sentences for tag in s.tags} == {"B-Artist", "I-Artist", "O"}


def test_a_comment_of_two_fields_is_told_from_a_word_by_its_tag(write) -> None:
    content = "# doc1\nAna B-PER\nruns O\n\n# O\nis O\n\n#fun O\n# B-PER\n"
    sentences, _ = read_conll(write("two.conll", content))
    assert [s.words for s in sentences] == [("Ana", "runs"), ("#", "is"), ("#fun", "#")]


@pytest.mark.parametrize("start", [0, 1])
def test_a_column_that_numbers_the_words_is_not_taken_for_them(write, start) -> None:
    rows = [("Ana", "B-PER"), ("corre", "O"), ("2", "O")]
    lines = [f"{n}\t{word}\t{tag}\n" for n, (word, tag) in enumerate(rows, start)]
    sentences, _ = read_conll(write("n.txt", "".join(lines) + "\n" + lines[0]))
    assert [s.words for s in sentences] == [("Ana", "corre", "2"), ("Ana",)]
    sentences, _ = read_conll(write("n.txt", lines[0] + "\n" + "".join(lines)))
    assert [s.words for s in sentences] == [("Ana",), ("Ana", "corre", "2")]
    sentences, _ = read_conll(write("n.txt", "7 NUM x\n9 NUM x\n"), "2")
    assert sentences[0].words == ("7", "9")


def test_the_column_of_the_words_can_be_named(write) -> None:
    path = write("w.txt", "x Ana B-PER\ny corre O\n")
    sentences, _ = read_conll(path, word_column="2")
    assert sentences == [TaggedSentence(("Ana", "corre"), ("B-PER", "O"))]
    sentences, _ = read_conll(path, "1", word_column="2")
    assert sentences[0].tags == ("x", "y")
    sentences, _ = read_conll(write("a.conllu", CONLLU), word_column="lemma")
    assert sentences[0].words == ("ir", "a", "o", "cinema")
    with pytest.raises(OptionError, match="no column '4' of words among 3 columns"):
        read_conll(path, word_column="4")
    with pytest.raises(OptionError, match="words and tags are both in column 3"):
        read_conll(path, word_column="3")
    with pytest.raises(OptionError, match="no column 'mine' of words in CoNLL-U"):
        read_conll(write("a.conllu", CONLLU), word_column="mine")


@pytest.mark.parametrize(
    ("content", "is_conll"),
    [
        ("Ana B-PER\nruns O\n\nRio B-LOC", True),
        ("Ana\t_\tB-PER\nruns\t_\tO", True),
        ("Ana\tx\nruns\ty", True),
        ("Ana\nruns\n\nRio", True),
        ("# id 7\tdomain=en\nAna _ _ O\nruns _ _ O", True),
        (CONLLU, True),
        ("Ana runs\nRio sings", False),
        ("Ana runs\nRio sings well", False),
        ("Ana\nRio", False),
        ("Ana O runs\nRio sings well", False),
        ("one\ta sentence here\ntwo\tanother one", False),
        ("", False),
    ],
)
def test_columns_are_told_from_sentences_whatever_the_name(content, is_conll) -> None:
    assert looks_like_conll(content.split("\n"), {"O", "B-PER", "B-LOC"}) == is_conll


def test_equal_words_of_a_corpus_are_one_text_in_memory(tmp_path):
    path = tmp_path / "corpus.conll"
    path.write_text("Maria B-PER\nMaria B-PER\n\nMaria B-PER\n", encoding="utf-8")
    first, second = read_conll(path)[0]
    assert len({id(text) for s in (first, second) for text in (*s.words, *s.tags)}) == 2
