"""Large blocks that are lent, given back and lent again: never two at once, never too many."""

import copy
import gc
import os
import pickle
import random
import shutil
import subprocess
import sys
import threading

import pytest
import torch

import unrolled
from unrolled.kernels.running import arena as arena_module
from unrolled.kernels.running.arena import Arena

FLOATS = 1 << 20


@pytest.fixture
def arena():
    return Arena(most_kept=16 * 4 * FLOATS)


def test_a_block_is_lent_again_once_nothing_sees_it(arena):
    block = arena.lend(4, FLOATS)
    address = block.data_ptr()
    del block
    for floats in (4 * FLOATS, 3 * FLOATS + FLOATS // 2):  # also for a little less
        again = arena.lend(floats)
        assert again.data_ptr() == address
        assert again.shape == (floats,)
        del again
    small = arena.lend(FLOATS)  # not for much less
    assert arena.used_bytes == small.nbytes


@pytest.mark.parametrize(
    "seen",
    [
        lambda block: block[3:5].view(2, -1),
        lambda block: block.detach(),
        lambda block: block.numpy()[7:],
        lambda block: block.untyped_storage(),
        lambda block: (block.requires_grad_() * 2).sum().grad_fn,
        lambda block: torch.from_dlpack(block),
        lambda block: torch.empty(0).set_(block.untyped_storage()),
        lambda block: memoryview(block.numpy()),
    ],
    ids=["view", "detached", "numpy", "storage", "graph", "dlpack", "set_", "memoryview"],
)
def test_a_block_that_something_sees_is_not_lent_again(arena, seen):
    block = arena.lend(8, FLOATS).fill_(1)
    address = block.data_ptr()
    sight = seen(block)
    del block
    gc.collect()
    assert arena.kept_bytes == 0
    assert arena.lend(8, FLOATS).data_ptr() != address
    del sight
    gc.collect()
    assert arena.used_bytes == 0
    assert arena.kept_bytes > 0


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda block: pickle.loads(pickle.dumps(block)), torch.clone],
    ids=["deepcopy", "pickle", "clone"],
)
def test_a_copy_of_a_block_is_memory_of_its_own(arena, copied):
    block = arena.lend(FLOATS).fill_(1)
    other = copied(block)
    del block
    arena.lend(FLOATS).fill_(2)
    assert (other == 1).all()


def test_a_block_that_is_moved_to_shared_memory_is_given_back(arena):
    block = arena.lend(FLOATS).fill_(1)
    address = block.data_ptr()
    block.share_memory_()
    again = arena.lend(FLOATS).fill_(2)
    assert again.data_ptr() == address
    assert (block == 1).all()


def test_a_block_cannot_be_made_larger(arena):
    with pytest.raises(RuntimeError, match="not resizable"):
        arena.lend(FLOATS).resize_(2 * FLOATS)


def test_blocks_used_and_kept_are_never_more_than_were_used_at_once(arena):
    randomly = random.Random(0)
    lent, most = [], 0
    for _ in range(300):
        if lent and randomly.random() < 0.5:
            lent.pop(randomly.randrange(len(lent)))
        else:
            lent.append(arena.lend(randomly.randrange(1, 40) * FLOATS // 16))
        most = max(most, arena.used_bytes)
        assert arena.used_bytes + arena.kept_bytes <= most
        assert arena.used_bytes <= 1.25 * sum(block.nbytes for block in lent)
    lent.clear()
    assert arena.used_bytes == 0


def test_what_is_kept_is_bounded():
    arena = Arena(most_kept=10 * 4 * FLOATS)
    lent = [arena.lend(4, FLOATS) for _ in range(5)] + [arena.lend(12, FLOATS)]
    assert arena.used_bytes == 32 * 4 * FLOATS
    while lent:
        lent.pop()
        assert arena.kept_bytes <= 10 * 4 * FLOATS
    assert arena.kept_bytes == 8 * 4 * FLOATS


def test_threads_never_have_one_block_at_once(arena):
    failures = []

    def work(seed):
        randomly = random.Random(seed)
        lent = []
        for turn in range(300):
            mark = float(1000 * seed + turn)
            block = arena.lend(randomly.choice([FLOATS // 16, FLOATS // 17, FLOATS // 4]))
            cycle = [block]  # that only the collector of garbage ends, anywhere
            cycle.append(cycle)
            block[:: 1 << 10] = mark
            lent.append((block, mark))
            if len(lent) > 3:
                old, wanted = lent.pop(randomly.randrange(4))
                if not (old[:: 1 << 10] == wanted).all():
                    failures.append((seed, turn))

    threshold = gc.get_threshold()
    gc.set_threshold(20)
    try:
        threads = [threading.Thread(target=work, args=[seed]) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert not failures
    assert arena.used_bytes == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_fork_has_blocks_of_its_own(arena):
    kept, lent = arena.lend(FLOATS), arena.lend(FLOATS).fill_(1)
    address = kept.data_ptr()
    kept.fill_(5)
    del kept
    if not (child := os.fork()):
        block = arena.lend(FLOATS).fill_(2)
        os._exit(0 if block.data_ptr() == address and lent.fill_(3)[0] == 3 else 1)
    assert os.waitpid(child, 0)[1] == 0
    again = arena.lend(FLOATS)
    assert again.data_ptr() == address
    assert (again == 5).all()
    assert (lent == 1).all()


@pytest.mark.parametrize("mode", ["inference", "meta", "float64"])
def test_blocks_are_plain_whatever_the_mode(arena, mode):
    if mode == "inference":
        with torch.inference_mode():
            block = arena.lend(2, FLOATS)
    elif mode == "meta":
        with torch.device("meta"):
            block = arena.lend(2, FLOATS)
    else:
        torch.set_default_dtype(torch.float64)
        try:
            block = arena.lend(2, FLOATS)
        finally:
            torch.set_default_dtype(torch.float32)
    assert (block.dtype, block.device.type, block.shape) == (torch.float32, "cpu", (2, FLOATS))
    address = block.data_ptr()
    del block
    again = arena.lend(2, FLOATS)
    assert again.data_ptr() == address
    assert not again.is_inference()
    again.requires_grad_()


def test_blocks_may_outlive_the_interpreter():
    program = """
import sys, torch
from unrolled.kernels.running import arena
blocks = [arena.lasting(1 << 21) for _ in range(3)]
blocks.append(blocks)
sys.kept = arena.lasting(1 << 22)
torch.autograd.graph._kept = (arena.lasting(1 << 22).requires_grad_() * 2).sum()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
)
def test_training_uses_its_blocks_again_and_a_kept_graph_its_own(monkeypatch):
    arena = Arena(most_kept=1 << 30)
    monkeypatch.setattr(arena_module, "_arena", arena)
    layer, x = unrolled.LSTM(16, 256), torch.randn(64, 32, 16)

    def gradients(output):
        return torch.autograd.grad(output.sum(), list(layer.parameters()), retain_graph=True)

    first = layer(x)[0]
    used = arena.used_bytes
    assert used > 4 * 64 * 32 * 4 * 256
    expected = [grad.clone() for grad in gradients(first)]
    second = layer(2 * x)[0]  # while the first is alive
    assert arena.used_bytes == 2 * used
    gradients(second)
    assert all(map(torch.equal, gradients(first), expected))
    del first, second
    # the first ran again for its second pass
    assert (arena.used_bytes, arena.kept_bytes) == (0, 3 * used)
    assert all(map(torch.equal, gradients(layer(x)[0]), expected))
    assert arena.kept_bytes == 3 * used
