"""Masks by hand, areas against an independent implementation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import unrolled
from unrolled.inspection import area_under_curve, pattern_masks, rank_units
from unrolled.inspection.units import PATTERNS

PLAY = "ROMEO:\nO, speak (again): yes\nBRIGHT:\n\nFirst Guard:\nNo\n"


def marked(name: str, text: str) -> str:
    """The characters of `text` that the mask `name` is true for, the others as dots."""
    mask = PATTERNS[name](text).tolist()
    assert len(mask) == len(text)
    return "".join(c if on else "." for c, on in zip(text, mask, strict=True)).replace("\n", "/")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("inside a speaker's name", PLAY, "ROMEO" + 33 * "." + "First Guard" + 5 * "."),
        ("inside a speaker's name", "\nA:\n", "...."),
        ("inside a speaker's name", "x\n\nA: hm\n\nB:\n", "..........B.."),
        ("inside quotes", 'a "b c" d "e', '.."b c.......'[:12]),
        ("inside quotes", "\u201ca\u201d b", "\u201ca..."),
        ("inside brackets", "f(x[1]) (", ".(x[1]..."),
        ("late in the line", "x" * 32 + "\n" + "y" * 4, 30 * "." + "xx" + 5 * "."),
        ("after a line break", "a\n\nb", ".//."),
        ("inside a word", "I'm no", "I'm.no"),
        ("in capitals", "A KING", "..KING"),
    ],
)
def test_masks_are_as_marked_by_hand(name, text, expected):
    assert marked(name, text) == expected


@given(st.text(alphabet='ab:\n "([])\u201c\u201dA', max_size=40))
def test_every_text_has_every_mask(text):
    for pattern in PATTERNS.values():
        mask = pattern(text)
        assert (mask.shape, mask.dtype) == ((len(text),), torch.bool)


def test_patterns_that_do_not_occur_are_left_out():
    assert set(pattern_masks("ab cd\n" * 9)) == {"after a line break", "inside a word"}


@given(st.integers(0, 10**6), st.booleans())
def test_areas_are_the_share_of_pairs_in_order(seed, tied):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    values = values.round() if tied else values
    mask = torch.rand(30, generator=generator) < 0.3
    mask[:2] = torch.tensor([True, False])
    inside, outside = values[mask][:, None], values[~mask]
    expected = ((inside > outside).double() + (inside == outside) / 2).mean((0, 1))
    torch.testing.assert_close(area_under_curve(values, mask), expected)


def test_a_unit_that_is_low_inside_is_as_good_as_one_that_is_high():
    values = torch.tensor([[0.0, 1.0, 0.5], [1.0, 0.0, 0.5], [2.0, -1.0, 0.0]])
    ranking = rank_units(values, torch.tensor([False, True, True]))
    assert ranking.units.tolist() == [0, 1, 2]
    assert ranking.area.tolist() == [1.0, 0.0, 0.25]
    assert ranking.score.tolist() == [1.0, 1.0, 0.75]


def test_what_cannot_be_ranked_is_said():
    values = torch.zeros(4, 2)
    with pytest.raises(unrolled.UnrolledError, match="nowhere"):
        rank_units(values, torch.zeros(4, dtype=torch.bool))
    with pytest.raises(unrolled.UnrolledError, match=r"the mask \(N,\)"):
        rank_units(values, torch.zeros(3, dtype=torch.bool))
