"""What the tests and the doctests share: the same run for everybody, and a kernel cache of its own.

A run draws nothing by chance: the seeds are fixed, and so are the examples of Hypothesis, of which
it takes 25 for each test. To look further is `make explore`, which takes a hundred, gives new seeds
and shuffles (tests/explore.py).
"""

import gc
import os
import random
import zlib
from collections.abc import Iterator

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

torch.set_num_threads(1)  # the same sums on every machine, and none in another test's way

# Without clocks, for machines are shared; examples that failed are kept by @example, not in a file.
unhurried = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
# The examples are always the same: what only the hundredth shows, `make explore` draws.
hypothesis.settings.register_profile(
    "repeat", max_examples=25, derandomize=True, database=None, print_blob=True, **unhurried
)
hypothesis.settings.register_profile(
    "explore", derandomize=False, database=None, print_blob=True, **unhurried
)
hypothesis.settings.load_profile("repeat")
# Hypothesis likes numbers that it reads in the modules imported so far. What a test draws would
# hang on what ran before it, and change with any number in src.
providers._get_local_constants = Constants


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The kernels that tests compile: not in the user's cache, shared by the workers of a run."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "kernels"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["UNROLLED_CACHE"] = str(folder)
    os.environ["XDG_STATE_HOME"] = str(shared / "state")  # where its secret lies


@pytest.fixture(scope="session", autouse=True)
def without_waiting_for_disks() -> Iterator[None]:
    """Have no file wait until a disk has it: thousands of them do, and no test cuts the power.

    Where the order of writing and waiting is what a test is of, it has an `fsync` of its own.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Have the garbage collector pass over what collecting makes and keeps: half of its time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give torch the seed that pytest-randomly gives to random and numpy, before each test."""
    torch.manual_seed(item.config.getoption("randomly_seed"))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Iterator[None]:
    """Have what tests share be the same whichever of them asks for it first."""
    if fixturedef.scope == "function":
        return (yield)
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed = request.config.getoption("randomly_seed")
    own = zlib.crc32(f"{seed} {fixturedef.baseid} {fixturedef.argname}".encode())
    random.seed(own)
    np.random.seed(own)
    torch.manual_seed(own)
    try:
        return (yield)
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
