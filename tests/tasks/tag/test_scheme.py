from unrolled.tasks.tag.scheme import iob2_transitions, may_follow

TAGS = ["B-X", "B-Y", "I-X", "I-Y", "O"]


def test_an_inside_tag_follows_only_an_entity_of_its_type() -> None:
    assert [before for before in TAGS if may_follow(before, "I-X")] == ["B-X", "I-X"]
    assert all(may_follow(before, tag) for before in TAGS for tag in ("B-X", "B-Y", "O"))
    assert iob2_transitions(TAGS)[-1].tolist() == [True, True, False, False, True]
