"""A visitor's input as a model has read it: every gate and state, and what was said at each step.

A reading is never changed. When a text is edited, the next one goes on from the state at the last
step that both have in common, so that typing costs one step a character.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unrolled.data import Source
from unrolled.inspection import Passage, Subject
from unrolled.inspection.record import states_before, step_inputs, weights_of
from unrolled.inspection.terms import UnitTerms, terms_of_units, unit_terms
from unrolled.kernels import StepGraph
from unrolled.layers import Record, State
from unrolled.serving.errors import ApiError

__all__ = [
    "NUM_CANDIDATES",
    "Reading",
    "UnitView",
    "beginning_late",
    "read",
    "signal",
    "unit_view",
]

NUM_CANDIDATES = 12


@dataclass(frozen=True, eq=False)
class Reading:
    """What happened while a model read.

    Args:
        source: Where it came from.
        passage: What was read.
        records: For each layer and direction its gates and states, one row.
        output: Of the layer, (T, O).
        likeliest: The labels most likely at each step, the first the most, (T, K) int64; fewer
            steps where nothing is said at the last ones.
        probabilities: Of those, as many.
        surprise: Of each token after those before it, in bits, (T,); NaN where there is none.
    """

    source: Source
    passage: Passage
    records: tuple[Record, ...]
    output: Tensor
    likeliest: Tensor
    probabilities: Tensor
    surprise: Tensor

    @property
    def pieces(self) -> tuple[str, ...]:
        """What stands at each step."""
        return self.passage.pieces

    @property
    def nbytes(self) -> int:
        """The memory it takes, in bytes."""
        tensors = [self.passage.features, self.output, self.likeliest, self.probabilities]
        tensors += [value for record in self.records for value in record.values.values()]
        tensors += [record.input for record in self.records]
        others = 64 * len(self.pieces) + len(self.source.content or b"")
        return sum(tensor.nbytes for tensor in tensors) + others


@dataclass(frozen=True)
class UnitView:
    """All numbers of one unit over a text, (T,) each, by name.

    Args:
        terms: The two parts of each gate's pre-activation.
        values: Gates, candidates and states after each step.
        before: The states before each step.
        inner: What else the equations compute on their way, by the ids of a step's graph; nothing
            where the cell has no such graph.
    """

    terms: UnitTerms
    values: dict[str, Tensor]
    before: dict[str, Tensor]
    inner: dict[str, Tensor]


@torch.no_grad()
def read(subject: Subject, source: Source, before: Reading | None = None) -> Reading:
    """Return how a model reads the first input of a source.

    Args:
        subject: The model.
        source: What is read; nothing is read of an empty one.
        before: An earlier reading by the same model, to go on from where the two part.

    Raises:
        DataError: The source cannot be read; a text has characters that are not known.
    """
    if before is not None and before.source == source:
        return before
    passage = next(iter(subject.read(source)), None)
    if passage is None or not len(passage):
        return _nothing_read(subject, source)
    num_kept = 0 if before is None else _num_common(subject, passage, before)
    num_kept = min(num_kept, len(passage) - 1)  # one step at least, for what is said there
    if before is None or num_kept == 0:
        records, (output,) = subject.run([passage])
        log_probabilities = subject.log_probabilities(passage, output)
        return _reading(subject, source, passage, records, output, log_probabilities)
    rest = _from(passage, num_kept, _state_after(subject, before, num_kept))
    new_records, (new_output,) = subject.run([rest])
    records = [
        _joined(old, num_kept, new) for old, new in zip(before.records, new_records, strict=True)
    ]
    output = torch.cat([before.output[:num_kept], new_output])
    log_probabilities = subject.log_probabilities(rest, new_output)
    start = _start_of(before, num_kept)
    return _reading(subject, source, passage, records, output, log_probabilities, start)


def signal(reading: Reading, part: int, name: str, unit: int | None) -> Tensor:
    """Return a gate or a state over the steps, (T,): of one unit, or the mean of all of them.

    Raises:
        ApiError: There is no such part, name or unit.
    """
    values = named(reading, part, name)
    if unit is None:
        return values.mean(1)
    if not 0 <= unit < values.shape[1]:
        raise ApiError("unit", most=values.shape[1] - 1, got=unit)
    return values[:, unit]


def named(reading: Reading, part: int, name: str) -> Tensor:
    """Return a gate or a state of all units, (T, H).

    Raises:
        ApiError: There is no such part or name.
    """
    record = record_of(reading, part)
    if name not in record.values:
        raise ApiError("signal", name=name, names=" ".join(record.values))
    return record.values[name][:, 0]


def record_of(reading: Reading, part: int) -> Record:
    """Return the record of a layer and direction.

    Raises:
        ApiError: There is no such part.
    """
    if not 0 <= part < len(reading.records):
        if not reading.records:
            raise ApiError("nothing_read")
        raise ApiError("part", most=len(reading.records) - 1, got=part)
    return reading.records[part]


@torch.no_grad()
def unit_view(
    subject: Subject, reading: Reading, part: int, unit: int, graph: StepGraph | None = None
) -> UnitView:
    """Return all numbers of one unit while it read.

    Args:
        subject: The model.
        reading: What it read.
        part: The layer and direction, as an index.
        unit: In 0 ... H - 1.
        graph: The step of its cell.

    Raises:
        ApiError: There is no such part or unit, or the layer is not a recurrent one.
    """
    if subject.recurrent is None:
        raise ApiError("no_cell")
    record = record_of(reading, part)
    if not 0 <= unit < subject.recurrent.hidden_size:
        raise ApiError("unit", most=subject.recurrent.hidden_size - 1, got=unit)
    terms = unit_terms(record, unit)
    values = {name: value[:, 0, unit] for name, value in record.values.items()}
    before = {name: states_before(record, name)[:, 0] for name in subject.recurrent.cell.states}
    of_unit = {name: state[:, unit] for name, state in before.items()}
    inner = {}
    if graph is not None:
        together = graph.is_over_units
        read = terms_of_units(record) if together else terms
        leaves = {f"x:{name}": part for name, part in read.x.items()}
        leaves |= {f"u:{name}": part for name, part in read.u.items()}
        leaves |= {f"before:{n}": state for n, state in (before if together else of_unit).items()}
        vectors = zip(graph.cell.parameters, weights_of(record).parameters, strict=True)
        leaves |= {f"vector:{n}": vector if together else vector[unit] for n, vector in vectors}
        inputs = {n: part[:, 0] for n, part in step_inputs(record).items()}
        leaves |= {f"given:{n}": p if together else p[:, unit] for n, p in inputs.items()}
        numbers = graph.numbers(leaves)
        if together:
            numbers = {id: number[:, unit] for id, number in numbers.items()}
        elsewhere = ("input", "recurrent", "product", "before")
        unnamed = (node for node in graph.nodes if node.name is None)
        inner = {node.id: numbers[node.id] for node in unnamed if node.operation not in elsewhere}
    return UnitView(terms, values, of_unit, inner)


@dataclass(frozen=True)
class _Start:
    """What is kept of an earlier reading.

    Args:
        likeliest: As in `Reading`, of the steps that are kept.
        probabilities: The same.
        surprise: The same.
        output: Of the layer at the last of them, (O,): what it expected to come next.
    """

    likeliest: Tensor
    probabilities: Tensor
    surprise: Tensor
    output: Tensor


def _start_of(reading: Reading, kept: int) -> _Start:
    return _Start(
        reading.likeliest[:kept],
        reading.probabilities[:kept],
        reading.surprise[:kept],
        reading.output[kept - 1],
    )


def _reading(
    subject: Subject,
    source: Source,
    passage: Passage,
    records: list[Record],
    output: Tensor,
    said: Tensor | None,
    start: _Start | None = None,
) -> Reading:
    """Put a reading together from what was kept, and what is said at the steps after it."""
    likeliest, probabilities = _top(subject, said)
    surprise = _surprise(subject, passage, said, start)
    if start is not None:
        likeliest = torch.cat([start.likeliest, likeliest])
        probabilities = torch.cat([start.probabilities, probabilities])
    return Reading(source, passage, tuple(records), output, likeliest, probabilities, surprise)


def _top(subject: Subject, said: Tensor | None) -> tuple[Tensor, Tensor]:
    count = min(NUM_CANDIDATES, len(subject.labels))
    if said is None or count < 2:
        return torch.zeros(0, 0, dtype=torch.int64), torch.zeros(0, 0)
    top = said.topk(count)
    return top.indices, top.values.exp().float()


def _surprise(
    subject: Subject, passage: Passage, said: Tensor | None, start: _Start | None
) -> Tensor:
    """Return the bits of each token after those before it, (T,)."""
    if passage.tokens is None or said is None:
        return torch.full((len(passage),), torch.nan)
    first = torch.full((1,), torch.nan)
    num_known = 0
    if start is not None:
        num_known = len(start.surprise)
        scores = subject.readout(start.output)
        assert scores is not None
        expected = scores.double().log_softmax(-1)
        first = (-expected[passage.tokens[num_known]] / math.log(2))[None].float()
    following = passage.tokens[num_known + 1 :, None]
    rest = -said[:-1].gather(1, following)[:, 0] / math.log(2)
    old = [] if start is None else [start.surprise]
    return torch.cat([*old, first, rest.float()])


def _num_common(subject: Subject, passage: Passage, before: Reading) -> int:
    """Return how many first steps a model need not read again: none if it cannot go on."""
    recurrent = subject.recurrent
    can_go_on = recurrent is not None and not recurrent.bidirectional and subject.by_step
    old = before.passage
    if not can_go_on or passage.state is not None or old.state is not None:
        return 0
    length = min(len(passage), len(old))
    if passage.tokens is not None and old.tokens is not None:
        differ = passage.tokens[:length] != old.tokens[:length]
    else:
        differ = (passage.features[:length] != old.features[:length]).any(1)
    places = differ.nonzero()
    return int(places[0]) if len(places) else length


def _from(passage: Passage, kept: int, state: State) -> Passage:
    """Return what comes after the first `kept` steps."""
    return replace(
        passage,
        pieces=passage.pieces[kept:],
        features=passage.features[kept:],
        tokens=None if passage.tokens is None else passage.tokens[kept:],
        state=state,
        marks={},
    )


def beginning_late(subject: Subject, reading: Reading, first: int) -> tuple[Passage, int]:
    """Return what was read up to its end, from a step on with the state there, and that step.

    It is all from step 0 where a model cannot go on from a state.
    """
    recurrent = subject.recurrent
    can_go_on = recurrent is not None and not recurrent.bidirectional and subject.by_step
    if first <= 0 or not can_go_on:
        return reading.passage, 0
    return _from(reading.passage, first, _state_after(subject, reading, first)), first


def _state_after(subject: Subject, reading: Reading, kept: int) -> State:
    """Return the state after the first `kept` steps."""
    assert subject.recurrent is not None
    names = subject.recurrent.cell.states
    stacked = [
        torch.stack([record.values[name][kept - 1] for record in reading.records]) for name in names
    ]
    return subject.recurrent.cell.state_type._make(stacked) if len(stacked) > 1 else stacked[0]


def _joined(old: Record, kept: int, new: Record) -> Record:
    """Return the first `kept` steps of one record and all of another."""
    return replace(
        old,
        values={
            name: torch.cat([value[:kept], new.values[name]]) for name, value in old.values.items()
        },
        lengths=kept + new.lengths,
        input=torch.cat([old.input[:kept], new.input]),
    )


def _nothing_read(subject: Subject, source: Source) -> Reading:
    size = subject.input_size
    passage = Passage((), torch.zeros(0, size))
    none = torch.zeros(0, 0)
    return Reading(source, passage, (), none, none.long(), none, torch.zeros(0))
