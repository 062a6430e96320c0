import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.tasks.tag.spans import Entity, doubtful_spans, entities, has_spans, score_spans

TAGS = ["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("PER", "LOC"))]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O", []),
        ("B-PER", [(0, 1, "PER")]),
        ("B-PER I-PER O B-LOC", [(0, 2, "PER"), (3, 4, "LOC")]),
        ("B-PER B-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        ("I-PER I-PER B-PER", [(0, 2, "PER"), (2, 3, "PER")]),  # IOB1
        ("B-PER I-LOC", [(0, 1, "PER"), (1, 2, "LOC")]),
        ("O I-PER", [(1, 2, "PER")]),
        ("S-PER B-PER I-PER E-PER", [(0, 1, "PER"), (1, 4, "PER")]),  # IOBES
        ("U-PER B-PER I-PER L-PER U-PER", [(0, 1, "PER"), (1, 4, "PER"), (4, 5, "PER")]),
        ("E-PER E-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        ("B-A-B I-A-B", [(0, 2, "A-B")]),
        ("B I O B", [(0, 2, ""), (3, 4, "")]),
        ("B-NAME M-NAME M-NAME E-NAME S-NAME O", [(0, 4, "NAME"), (4, 5, "NAME")]),  # BMES
        ("W-LOC B-LOC E-LOC", [(0, 1, "LOC"), (1, 3, "LOC")]),  # BMEW
        ("B M E S", [(0, 3, ""), (3, 4, "")]),
        ("B_PER I_PER O", [(0, 2, "PER")]),
        ("", []),
    ],
)
def test_entities_by_hand(tags: str, expected: list[tuple[int, int, str]]) -> None:
    assert entities(tags.split()) == [Entity(*entity) for entity in expected]


def test_scores_by_hand() -> None:
    true = [["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC", "O"]]
    predicted = [["B-PER", "I-PER", "O", "B-PER"], ["B-LOC", "B-LOC"]]
    score, by_type = score_spans(true, predicted)
    # 3 entities; 4 predicted; 2 right: PER 0-2 and LOC 0-1
    assert (score.precision, score.recall) == (0.5, pytest.approx(2 / 3))
    assert score.f1 == pytest.approx(4 / 7)
    assert score.num_entities == 3
    assert (by_type["LOC"].recall, by_type["PER"].precision) == (0.5, 0.5)


def test_nothing_to_find_scores_zero_rather_than_failing() -> None:
    score, by_type = score_spans([["O", "O"]], [["O", "O"]])
    assert (score.precision, score.recall, score.f1, by_type) == (0, 0, 0, {})
    score, _ = score_spans([["O"]], [["B-PER"]])
    assert (score.precision, score.recall, score.f1) == (0, 0, 0)


def test_another_number_of_sentences_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        score_spans([["O"], ["O"]], [["O"]])


def test_tags_of_entities_are_told_from_others() -> None:
    assert has_spans(["O", "I-PER"])
    assert has_spans(["O", "B", "I"])
    assert has_spans(["O", "B-NAME", "M-NAME", "E-NAME", "S-NAME"])
    assert has_spans(["B", "M", "E", "S"])
    assert not has_spans(["M", "W", "N"])
    assert not has_spans(["O"])
    assert not has_spans(["NOUN", "B-PER"])
    assert not has_spans([])
    assert not has_spans(["O", "B-"])


def test_tags_that_nearly_mark_entities_are_named():
    (note,) = doubtful_spans(["O", "b-loc", "i-loc"])
    assert note.endswith("2 tags are not like B-TYPE, I-TYPE or O: 'b-loc', 'i-loc'")
    (note,) = doubtful_spans(["O", "B-LOC", "I-LOC", "LOC"])
    assert note.endswith("a tag is not like B-TYPE, I-TYPE or O: 'LOC'")
    for fine in (["O", "B-LOC"], ["B", "I", "O"], ["NOUN", "VERB"], ["O", "NOUN", "B-X"], ["O"]):
        assert doubtful_spans(fine) == []


@settings(max_examples=200)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), max_size=8),
        min_size=1,
        max_size=4,
    )
)
def test_scores_are_those_of_seqeval(sentences: list[list[tuple[str, str]]]) -> None:
    reference = pytest.importorskip("seqeval.metrics.sequence_labeling")
    true = [[tag for tag, _ in sentence] for sentence in sentences]
    predicted = [[tag for _, tag in sentence] for sentence in sentences]
    precision, recall, f1, support = reference.precision_recall_fscore_support(
        true, predicted, average="micro", zero_division=0
    )
    score, by_type = score_spans(true, predicted)
    assert (score.precision, score.recall, score.f1) == pytest.approx((precision, recall, f1))
    assert score.num_entities == support
    each = reference.precision_recall_fscore_support(true, predicted, zero_division=0)
    assert [score.f1 for score in by_type.values()] == pytest.approx(list(each[2]))
