"""What all tests share: one thread, fixed seeds, and real data where there is any."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)  # the same sums on every machine, and none in another test's way

# Hypothesis' own default, which is repeatable where CI is set, with no clock: machines are shared.
settings.register_profile("unrolled", settings.default, deadline=None)
settings.load_profile("unrolled")


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The kernels that tests compile: not in the user's cache, shared by the workers of a run."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "kernels"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["UNROLLED_CACHE"] = str(folder)


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data(pytestconfig: pytest.Config) -> Path:
    """The folder of real data that the repository does not carry."""
    folder = Path(os.environ.get("UNROLLED_DATA", pytestconfig.rootpath.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set UNROLLED_DATA to its folder")
    return folder
