"""The columns of a text that stays in its files: tokens are made as training comes to them.

`columns.py` has the picture and the layout in memory. Here each column begins at a place of the
files and is read on from there, chunk by chunk. With characters and bytes the places are exact: the
windows are those of `Columns`, number for number. How many words or pieces a text has is not known
before all of it was cut, which takes hours at 10 GB. There the columns begin at equal distances
in the text, and their number of steps comes from a sample: a column that has fewer tokens reads on
into the next one's, and of one that has more the last are not read.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from unrolled.data.batching import IGNORE
from unrolled.data.long_text import LongText, Text
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError, OptionError, field
from unrolled.tasks.lm.columns import check_length, columns_of, steps_within
from unrolled.tasks.lm.options import STREAMED_HELD_OUT, DataOptions
from unrolled.tasks.task import Splits

__all__ = ["COUNTED", "StreamedColumns", "split_streamed"]

_MOST_HELD_OUT = 16_000_000  # characters of a streamed text: they and their tokens are in memory
_SAMPLE = 4_000_000  # bytes of text by which its tokens are counted

COUNTED = 16_000_000
"""Bytes of a text that is streamed on which its words and pieces are counted."""

_Numbers: TypeAlias = np.ndarray[Any, np.dtype[Any]]


class StreamedColumns:
    """A text in `num_columns` columns of `num_steps` steps, of which a window is held in memory.

    Args:
        text: What is learned from.
        vocabulary: Its tokens.
        num_columns: B, the rows of a batch over all processes, at least 1.
        min_steps: The least number of steps that the caller can use, such as one window.

    Attributes:
        num_tokens: Of the text: of characters and bytes all of them, of others about so many.

    Raises:
        DataError: The text is too short for `min_steps` steps in each column.
        OptionError: `num_columns` is below 1.
    """

    def __init__(
        self, text: LongText, vocabulary: Vocabulary, num_columns: int, min_steps: int = 1
    ) -> None:
        if vocabulary.kind == "char":
            self.num_tokens, firsts = text.num_characters, text.first_characters
        elif vocabulary.kind == "byte":
            self.num_tokens, firsts = text.num_bytes, text.first_bytes
        else:
            sample = text.sample(_SAMPLE)
            per_character = len(vocabulary.encode(sample)) / len(sample)
            self.num_tokens, firsts = round(per_character * text.num_characters), None
        check_length(self.num_tokens, num_columns, min_steps)
        self.num_columns = num_columns
        self.num_steps = -(-(self.num_tokens - 1) // num_columns)
        if firsts is None and text.num_chunks < num_columns:
            message = f"the text is too short to be streamed in {num_columns} columns"
            raise DataError(message, f"lower {field('batch_size')}, or {field('stream=False')}")
        self._columns = []
        for number in range(num_columns):
            chunk, skipped = number * text.num_chunks // num_columns, 0
            if firsts is not None:
                place = number * self.num_steps
                chunk = int(np.searchsorted(firsts, place, "right")) - 1
                skipped = place - int(firsts[chunk])
            self._columns.append(_Column(text, vocabulary, chunk, -skipped))

    @property
    def places(self) -> list[list[int]]:
        """Where each column is being read: a chunk of the text, and the step that it begins at."""
        return [column.place for column in self._columns]

    def go_to(self, places: Sequence[Sequence[int]]) -> None:
        """Read on where `places` were noted; without it, from the top of each column."""
        for column, (chunk, step) in zip(self._columns, places, strict=True):
            column.go_to(chunk, step)

    def window(
        self, start: int, stop: int, rank: int = 0, world_size: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Return the steps from `start` up to `stop` of the columns that belong to `rank`.

        Arguments, results and errors are those of `Columns.window`.

        Raises:
            DataError: The text has changed since training began, or cannot be read.
        """
        steps_within(start, stop, self.num_steps)
        own = self._columns[columns_of(rank, world_size, self.num_columns)]
        tokens = torch.from_numpy(np.stack([column.take(start, stop + 1) for column in own]))
        return tokens[:, :-1].clamp(min=0), tokens[:, 1:].clone()


class _Column:
    """The tokens of a text from a place on; those that were read last are held.

    Args:
        text: The text.
        vocabulary: Its tokens.
        chunk: Where the column begins.
        step: Of the column at which that chunk begins: 0, or less where it begins within the chunk.
    """

    def __init__(self, text: LongText, vocabulary: Vocabulary, chunk: int, step: int) -> None:
        self._text = text
        self._vocabulary = vocabulary
        self._top = (chunk, step)
        size = len(vocabulary)
        self._type = np.uint8 if size <= 2**8 else np.uint16 if size <= 2**16 else np.uint32
        self._held: deque[_Numbers] = deque()
        self.go_to(chunk, step)

    @property
    def place(self) -> list[int]:
        """The first chunk that is held, and the step at which it begins."""
        return [self._chunk, self._step]

    def go_to(self, chunk: int, step: int) -> None:
        """Let go of what is held, and read on from there."""
        self._chunk, self._step = chunk, step
        self._end = step  # of what is held
        self._held.clear()

    def take(self, start: int, stop: int) -> _Numbers:
        """Return the tokens of the steps from `start` up to `stop`, `IGNORE` after the end."""
        if start < self._step:
            self.go_to(*self._top)
        while self._end < stop and self._chunk + len(self._held) < self._text.num_chunks:
            text = self._text.chunk(self._chunk + len(self._held))
            self._held.append(self._vocabulary.encode(text).numpy().astype(self._type))
            self._end += len(self._held[-1])
            self._let_go_before(start)
        self._let_go_before(start)
        tokens = np.full(stop - start, IGNORE, dtype=np.int64)
        first = self._step
        for part in self._held:
            begin, end = max(start, first), min(stop, first + len(part))
            if begin < end:
                tokens[begin - start : end - start] = part[begin - first : end - first]
            first += len(part)
        return tokens

    def _let_go_before(self, start: int) -> None:
        while self._held and self._step + len(self._held[0]) <= start:
            self._step += len(self._held.popleft())
            self._chunk += 1


def split_streamed(text: LongText, data: DataOptions) -> Splits[Text]:
    """Return a text that stays in its files, and the end of it, which does not, held out.

    Raises:
        OptionError: What is to be held out is too much to be kept in memory.
    """
    size = text.num_characters
    cut = int(size * (1 - data.held_out_part))
    if data.held_out is None:
        cut = max(cut, size - STREAMED_HELD_OUT)
    elif size - cut > _MOST_HELD_OUT:
        message = f"{field('held_out')} {data.held_out:g} of a text that is streamed: these are "
        message += f"{size - cut:,} characters, at most {_MOST_HELD_OUT:,} are kept in memory"
        most = f"{int(1e6 * (_MOST_HELD_OUT - 1) / size) / 1e6:g}"
        hint = f"give {most} at most; or {field('stream=False')}, which reads all into memory"
        raise OptionError(message, hint)
    note = (
        f"the text, {size:,} characters, is read from its files while the training goes on; "
        f"the last {size - cut:,} are held out"
    )
    if data.held_out is None and size - cut == STREAMED_HELD_OUT:
        note += f" ({field('held_out')} takes another part)"
    if data.tokens in ("bpe", "word"):
        note += f"; the vocabulary is that of {COUNTED / 1e6:.0f} MB from all over it"
    held_out: list[Text] = [text.read(cut, size)] if data.held_out_part else []
    return Splits([text.until(max(1, cut))], held_out, [], [note])
