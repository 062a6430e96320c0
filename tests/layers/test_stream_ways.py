"""Every way to read a sequence, by chance in turns: cells, weight formats, layouts, sizes, threads.

Each test's seed draws another case; `SEEDS` may be made long for an hour of them.
"""

import copy
import pickle
import random

import numpy as np
import pytest
import torch

import unrolled

SEEDS = range(12)
KINDS = [unrolled.LSTM, unrolled.GRU, unrolled.JANET, unrolled.TCN]
COPIES = [copy.copy, copy.deepcopy, lambda reader: pickle.loads(pickle.dumps(reader))]


class Case:
    """A layer, sequences that it reads, and all outputs, (T, B, H)."""

    def __init__(self, seed):
        torch.manual_seed(seed)
        self.chance = chance = random.Random(seed)
        kind, self.turned = chance.choice(KINDS), chance.random() < 0.3
        self.size, self.units = chance.choice([1, 3, 17]), chance.choice([1, 5, 16, 33])
        self.layer = kind(self.size, self.units, chance.choice([1, 2, 3]), batch_first=self.turned)
        self.weights = {}
        if kind is not unrolled.TCN:
            self.weights["weights"] = chance.choice(["f32", "bf16", "int8"])
        self.rows, self.steps = chance.choice([(1, 1100), (2, 30), (13, 20), (48, 9), (70, 5)])
        self.x = torch.randn(self.steps, self.rows, self.size) * chance.choice([0.1, 1, 10])
        stream = self.layer.stream(self.rows, **self.weights)
        self.expected = self.laid_out(stream.push(self.laid_out(self.x)))

    def laid_out(self, chunk):
        return chunk.transpose(0, 1) if self.turned else chunk

    def lengths(self, left):
        return min(self.chance.choice([1, 1, 2, 7, 513]), left)


@pytest.fixture(params=SEEDS)
def case(request):
    before = torch.get_num_threads()
    drawn = Case(request.param)
    yield drawn
    torch.set_num_threads(before)


def test_a_stream_says_the_same_in_every_way(case):
    chance, x, of = case.chance, case.x, case.laid_out
    stream = case.layer.stream(case.rows, **case.weights)
    said = torch.full_like(case.expected, torch.nan)
    a, b = np.empty((case.rows, case.size), np.float32), torch.empty(case.rows, case.units)
    bound, at = stream.bind(a, b), 0
    while at < case.steps:
        torch.set_num_threads(chance.choice([1, 2, 3]))
        count = case.lengths(case.steps - at)
        way, chunk, to = chance.randrange(7), x[at : at + count], said[at : at + count]
        if way == 0:
            stream = chance.choice(COPIES)(stream)
            bound = stream.bind(a, b)
            continue
        if way == 1:
            to[:] = of(stream.push(of(chunk)))
        elif way == 2:
            stream.push(of(chunk).numpy(), out=of(to))
        elif way == 3:
            spread = torch.empty(count, case.rows, 2 * case.units)[..., ::2]
            stream.push(of(chunk), out=of(spread))
            to[:] = spread
        elif way == 4:
            a[:], count = chunk[0].numpy(), 1
            bound.step()
            to[0] = b
        elif way == 5:
            stream.state, count = stream.state, 1
            to[0] = stream.step(chunk[0])
        else:
            count, backwards = 1, chunk[0].numpy()[:, ::-1].copy()[:, ::-1]
            to[0] = torch.from_numpy(stream.step(backwards))
        at += count
    assert torch.equal(said, case.expected)


def test_a_pool_says_the_same_in_every_company(case):
    chance, x, of = case.chance, case.x, case.laid_out
    pool = case.layer.streams(case.rows + 3, **case.weights)
    rows = []
    for _ in range(case.rows):
        rows.append(pool.join())
        pool.leave(pool.join())
    said, read = torch.full_like(case.expected, torch.nan), [0] * case.rows
    for _ in range(40):
        torch.set_num_threads(chance.choice([1, 2, 3]))
        there = [row for row in range(case.rows) if read[row] < case.steps]
        if not there:
            break
        some = chance.sample(there, chance.randint(1, len(there)))
        count = case.lengths(min(case.steps - read[row] for row in some))
        chunk = torch.stack([x[read[row] : read[row] + count, row] for row in some], 1)
        named = [rows[row] for row in some]
        if count == 1:
            output = pool.step(chunk[0], named)[None]
        else:
            output = torch.empty(count, len(some), case.units)
            pool.push(of(chunk).numpy(), np.array(named), out=of(output))
        for index, row in enumerate(some):
            said[read[row] : read[row] + count, row] = output[:, index]
            read[row] += count
        if chance.random() < 0.1:
            pool = chance.choice(COPIES)(pool)
    for row, count in enumerate(read):
        assert torch.equal(said[:count, row], case.expected[:count, row])
