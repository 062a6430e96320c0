"""Kernels among threads and processes: several on one row, several at once, nested, forked.

What could hang runs in a process of its own, which is killed; `faulthandler` says where it was.
"""

import copy
import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import unrolled
from support.exploring import EXPLORING
from unrolled.kernels import choose_path

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
)
REPEATS = 200 if os.environ.get("UNROLLED_SANITIZE") else 8 if EXPLORING else 3

TOGETHER = """
import ctypes, faulthandler, sys, threading
faulthandler.dump_traceback_later(100, exit=True)
import torch, unrolled
from unrolled.kernels.running import library

repeats, *nums_threads = map(int, sys.argv[1:])
layers = [unrolled.LSTM(8, 256), unrolled.GRU(8, 256, reset="before"), unrolled.RNN(8, 512)]
batches = [torch.randn(6, 1, 8), torch.randn(6, 3, 8)]  # rows to share, and uneven parts

def results(layer, x):
    output, state = layer(x)
    return [output, *torch.autograd.grad(output.sum(), list(layer.parameters()))]

def repeat(number):
    for _ in range(repeats):
        for x, expected in zip(batches, alone[number]):
            assert all(map(torch.equal, results(layers[number], x), expected))

def at_once(*calls):
    failures = []
    def run(call):
        try:
            call()
        except BaseException as error:
            failures.append(error)
    threads = [threading.Thread(target=run, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures

torch.set_num_threads(1)
alone = [[results(layer, x) for x in batches] for layer in layers]
for num_threads in nums_threads:
    torch.set_num_threads(num_threads)
    repeat(0)
    repeat(1)
    repeat(2)
    at_once(lambda: repeat(0), lambda: repeat(1))

# within one of torch's own parallel regions
done = []
body_type = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)

@body_type
def body(begin, end, context):
    with torch.no_grad():
        for number in range(begin, end):
            done.append(torch.equal(layers[number](batches[0])[0], alone[number][0][0]))

arguments = ctypes.c_int64(0), ctypes.c_int64(2), ctypes.c_int64(1), body, ctypes.c_void_p()
ctypes.CFUNCTYPE(
    None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, body_type, ctypes.c_void_p
)(library.pool_address())(*arguments)
assert done == [True, True], done
"""


def run_python(code, *arguments, environment=None, prefix=()):
    command = [*prefix, sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(
        command,
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "environment",
    [
        {"OMP_WAIT_POLICY": "passive"},
        {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "active"},
        {"OMP_THREAD_LIMIT": "2", "OMP_DYNAMIC": "true"},
    ],
    ids=lambda environment: " ".join(environment),
)
def test_threads_that_share_a_row_give_its_bits_and_never_wait_for_ever(environment):
    run_python(TOGETHER, REPEATS, 3, 4, 8, environment=environment)


@pytest.mark.skipif(shutil.which("taskset") is None, reason="no taskset")
def test_threads_that_share_a_row_may_share_a_core():
    environment = {"OMP_WAIT_POLICY": "passive"}
    run_python(TOGETHER, REPEATS, 2, 4, environment=environment, prefix=["taskset", "-c", "0"])


LATE = """
import ctypes, faulthandler, sys, threading, time
faulthandler.dump_traceback_later(100, exit=True)
import torch, unrolled
from unrolled.kernels.running import library

num_threads, calls_of_pool = int(sys.argv[1]), 0
body_type = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)

def run_late(body, number, context):
    time.sleep(0.005 * number)
    body(number, number + 1, context)

@ctypes.CFUNCTYPE(
    None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p
)
def late_pool(begin, end, grain, address, context):
    global calls_of_pool
    calls_of_pool += 1
    arguments = [(body_type(address), number, context) for number in range(end)]
    others = [threading.Thread(target=run_late, args=of_thread) for of_thread in arguments[1:]]
    for thread in others:
        thread.start()
    body_type(address)(0, 1, context)
    for thread in others:
        thread.join()

address = ctypes.cast(late_pool, ctypes.c_void_p).value
for module in list(sys.modules.values()):
    if getattr(module, "pool_address", None) is library.pool_address and module is not library:
        module.pool_address = lambda: address
library.pool_address = lambda: address

layers = [unrolled.LSTM(8, 256), unrolled.GRU(8, 256, reset="before")]
x = torch.randn(30, int(sys.argv[2]), 8)

def results(layer):
    output, _ = layer(x)
    return [output, *torch.autograd.grad(output.sum(), list(layer.parameters()))]

torch.set_num_threads(1)
expected = [results(layer) for layer in layers]
assert calls_of_pool == 0
torch.set_num_threads(num_threads)
for layer, alone in zip(layers, expected):
    asked, end = [], time.monotonic() + 120
    # most of them do without the pool, and it is asked again
    while asked.count(True) < 3 or asked.count(False) < 4 * asked.count(True):
        assert time.monotonic() < end, asked
        calls_of_pool = 0
        assert all(map(torch.equal, results(layer), alone))
        asked.append(calls_of_pool > 0)
"""


@pytest.mark.parametrize(("num_threads", "num_rows"), [(2, 1), (5, 2)])
def test_after_a_wait_for_another_thread_one_thread_does_the_work(num_threads, num_rows):
    run_python(LATE, num_threads, num_rows)


def train(layer, x, num_updates=5):
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(num_updates):
        optimizer.zero_grad()
        layer(x)[0].square().sum().backward()
        optimizer.step()
    return [weight.detach() for weight in layer.parameters()]


def test_two_python_threads_that_train_two_layers_get_what_each_gets_alone():
    layers = [unrolled.LSTM(5, 33), unrolled.GRU(5, 33)]
    x = torch.randn(20, 9, 5)
    expected = [train(copy.deepcopy(layer), x) for layer in layers]
    got = [None, None]

    def run(number):
        got[number] = train(layers[number], x)

    threads = [threading.Thread(target=run, args=[number]) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ours, alone in zip(got, expected, strict=True):
        assert all(map(torch.equal, ours, alone))


@pytest.mark.parametrize("num_threads", [(1, 2), (3, 1)])
def test_the_number_of_threads_may_change_between_the_passes(num_threads):
    layer, x = unrolled.LSTM(5, 130), torch.randn(9, 4, 5)

    def gradients():
        return torch.autograd.grad(output.square().sum(), list(layer.parameters()))

    output, _ = layer(x)
    expected = gradients()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(num_threads[0])
        output, _ = layer(x)
        torch.set_num_threads(num_threads[1])
        got = gradients()
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, got, expected))


FORKED = """
import os, signal, torch, unrolled
layer, x = unrolled.LSTM(8, 64), torch.randn(12, 70, 8)

def results():
    output, _ = layer(x)
    return [output, *torch.autograd.grad(output.sum(), list(layer.parameters()))]

torch.set_num_threads(2)
expected = results()
assert len(os.listdir("/proc/self/task")) > 1  # the pool is there, and will not be in the child
if not (child := os.fork()):
    signal.alarm(60)
    torch.set_num_threads(1)  # as torch's DataLoader does: the pool does not outlive a fork
    os._exit(not all(map(torch.equal, results(), expected)))
assert os.waitpid(child, 0)[1] == 0

class Outputs(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        with torch.no_grad():
            return layer(x[:, index])[0]

loader = torch.utils.data.DataLoader(Outputs(), num_workers=2, timeout=60)
with torch.no_grad():
    for index, output in enumerate(loader):
        assert torch.equal(output[0], layer(x[:, index])[0])
"""


@pytest.mark.skipif(not hasattr(os, "fork") or not Path("/proc/self/task").exists(), reason="fork")
def test_a_fork_of_a_process_that_has_used_threads_runs_kernels_on_one():
    run_python(FORKED)


SPAWNING = """
import multiprocessing, sys, warnings
import torch, unrolled
from unrolled.kernels import choose_path

@unrolled.cell(gates="f g")
def leaky(x, u, h):
    f = torch.sigmoid(x.f + u.f)
    return dict(h=f * h + (1 - f) * torch.tanh(x.g + u.g))

def outputs(layers, x):
    warnings.simplefilter("error")
    assert [choose_path(layer.cell) for layer in layers] == ["kernel", "kernel"]
    return [layer(x)[0].detach() for layer in layers]

if __name__ == "__main__":
    torch.set_num_threads(2)
    layers, x = [unrolled.LSTM(3, 17), unrolled.Recurrent(leaky, 3, 17)], torch.randn(5, 4, 3)
    expected = outputs(layers, x)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        got = pool.apply(outputs, [layers, x])
    assert all(map(torch.equal, got, expected))
"""


def test_a_layer_and_a_users_cell_can_be_sent_to_a_process_that_is_spawned(tmp_path):
    script = tmp_path / "spawning.py"
    script.write_text(SPAWNING)
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", [unrolled.LSTM, unrolled.JANET])
def test_copies_of_a_layer_that_has_been_used_are_layers_of_their_own(kind):
    layer, x = kind(3, 17), torch.randn(5, 4, 3)
    layer(x)[0].sum().backward()
    stream = layer.stream(4)
    stream.push(x)
    expected = layer(x)[0]
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert choose_path(twin.cell) == "kernel"
        assert torch.equal(twin(x)[0], expected)
        with torch.no_grad():
            next(twin.parameters()).add_(1)
        assert not torch.equal(twin(x)[0], expected)
        assert torch.equal(layer(x)[0], expected)
