"""Augmentation changes what is seen and heard a little, and a seed decides how."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.augment import augment_frames, augment_pictures, move_pictures
from unrolled.data.recordings import LOG_MEL_FLOOR


def pictures(batch_size=4, size=16):
    return torch.randint(0, 256, (batch_size, 3, size, size), dtype=torch.uint8)


@pytest.mark.parametrize(
    "augment",
    [
        augment_frames,
        lambda frames: augment_pictures(pictures()),
        lambda frames: move_pictures(pictures()),
    ],
    ids=["frames", "pictures", "moved pictures"],
)
def test_the_seed_decides_every_change(augment):
    frames = torch.randn(50, 40)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augment(frames))
    assert torch.equal(results[0], results[1])
    same_shape = results[0].shape == results[2].shape
    assert not (same_shape and torch.equal(results[0], results[2]))


@given(size=st.integers(1, 40), flip=st.booleans())
def test_pictures_of_any_size_keep_their_shape_and_type(size, flip):
    changed = augment_pictures(pictures(2, size), flip)
    assert changed.shape == (2, 3, size, size)
    assert changed.dtype == torch.uint8


@given(size=st.integers(1, 40), flip=st.booleans())
def test_moved_pictures_keep_their_shape_and_have_no_mark_at_the_edge(size, flip):
    black = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    moved = move_pictures(black, flip)
    assert moved.shape == black.shape
    assert moved.dtype == torch.uint8
    assert (moved.flatten(2).float().std(2, correction=0) < 20).all()  # noise; white would be 100


def test_moved_pictures_are_moved_mirrored_and_not_turned_over():
    torch.manual_seed(0)
    square = torch.zeros(200, 3, 32, 32, dtype=torch.uint8)
    square[:, :, 10:22, 2:10] = 255  # on the left, in the middle of the height
    places = torch.arange(32.0)

    def centres(flip):
        bright = move_pictures(square, flip)[:, 1].float()
        bright = (bright - bright.amin((1, 2), keepdim=True)).clamp(min=0) ** 2
        total = bright.sum((1, 2))
        return (bright.sum(1) * places).sum(1) / total, (bright.sum(2) * places).sum(1) / total

    across, down = centres(flip=False)
    assert (across < 15).all()
    assert ((down - 15.5).abs() < 7).all()
    assert across.std() > 1
    across, _ = centres(flip=True)
    assert 60 < int((across > 15).sum()) < 140


def test_white_stays_white():
    white = torch.full((4, 3, 16, 16), 255, dtype=torch.uint8)
    assert torch.equal(augment_pictures(white), white)


def test_a_picture_is_moved_as_a_whole_by_at_most_an_eighth():
    point = torch.full((64, 3, 16, 16), 255, dtype=torch.uint8)
    point[:, :, 8, 8] = 0
    changed = augment_pictures(point)
    found = (changed[:, 0] < 128).nonzero()
    assert len(found) == 64
    assert set(found[:, 1].tolist()) == set(found[:, 2].tolist()) == {6, 7, 8, 9, 10}


def test_pictures_are_mirrored_only_where_that_is_harmless():
    left = torch.full((64, 3, 16, 16), 255, dtype=torch.uint8)
    left[:, :, :, :4] = 0

    def num_left(pixels):
        dark = (255 - pixels[:, 0].float()).sum(1)
        return int((dark[:, :8].sum(1) > dark[:, 8:].sum(1)).sum())

    assert num_left(augment_pictures(left)) == 64
    assert 16 < num_left(augment_pictures(left, flip=True)) < 48


def test_what_goes_in_is_not_changed_in_place():
    before, frames = pictures(), torch.randn(20, 40)
    copies = before.clone(), frames.clone()
    augment_pictures(before, flip=True)
    augment_frames(frames)
    assert torch.equal(before, copies[0])
    assert torch.equal(frames, copies[1])


@given(num_frames=st.integers(1, 60), num_bands=st.integers(1, 50))
def test_recordings_of_any_length_stay_about_as_long(num_frames, num_bands):
    changed = augment_frames(torch.zeros(num_frames, num_bands))
    assert changed.shape[1] == num_bands
    assert 1 <= len(changed) <= round(num_frames / 0.85)
    assert len(changed) >= round(num_frames / 1.16)
    assert changed.isfinite().all()


def test_silence_gets_no_lower_than_the_floor_of_noise():
    silence = torch.full((50, 40), LOG_MEL_FLOOR)
    assert all(augment_frames(silence).min() > LOG_MEL_FLOOR - 3 for _ in range(20))
