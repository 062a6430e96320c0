"""An embedding that begins with vectors, its width, and what is learned of it."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from unrolled.networks.embedding import TokenEmbedding


@dataclass(frozen=True)
class Chosen:
    embedding_size: int | None = None
    default_embedding_size: int = 5
    freeze_vectors: bool = False


WORDS = ["<unk>", "casa", "Rio", "xyz"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.txt"
    path.write_text("casa 1 2 3\nrio 4 5 6\nsol 7 8 9\n")
    return path


def test_without_vectors_the_size_is_the_one_chosen_or_the_default() -> None:
    assert TokenEmbedding(Chosen(), 4).output_size == 5
    assert TokenEmbedding(Chosen(embedding_size=2), 4)(torch.tensor([[3]])).shape == (1, 1, 2)
    assert TokenEmbedding(Chosen(freeze_vectors=True), 4).table.weight.requires_grad


def test_vectors_set_the_width_and_the_rows_that_the_file_has(path: Path) -> None:
    embedding = TokenEmbedding(Chosen(), 4, vectors_width=3)
    said = embedding.begin_with(path, WORDS)
    assert embedding.projection is None
    assert embedding(torch.tensor([1, 2])).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert "vectors of 3 numbers for 2 of 4 tokens (50 %), 1 of them in other capitals" in said
    assert said.endswith("; the others are learned")
    assert embedding.table.weight[[0, 3]].abs().min() > 0


def test_another_size_is_a_projection(path: Path) -> None:
    embedding = TokenEmbedding(Chosen(embedding_size=2), 4, vectors_width=3)
    embedding.begin_with(path, WORDS)
    assert embedding.projection is not None
    expected = torch.tensor([[1.0, 2, 3]]) @ embedding.projection.weight.T
    torch.testing.assert_close(embedding(torch.tensor([1])), expected)


def test_frozen_vectors_are_not_learned_and_others_are_zero(path: Path) -> None:
    options = Chosen(embedding_size=2, freeze_vectors=True)
    embedding = TokenEmbedding(options, 4, vectors_width=3)
    said = embedding.begin_with(path, WORDS)
    assert said.endswith("; the others stay zero")
    assert embedding.table.weight[[0, 3]].abs().max() == 0
    embedding(torch.tensor([1, 2])).sum().backward()
    assert embedding.table.weight.grad is None
    assert embedding.projection is not None
    assert embedding.projection.weight.grad is not None
