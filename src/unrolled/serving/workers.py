"""Threads that compute, so that the server can go on listening.

Two kinds: what takes milliseconds is done in turn by several threads, and what may take seconds by
one of its own, so that nobody who types waits for it. A long text is written in slices of a few
tokens; between two slices everybody else has a turn.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["BusyError", "Workers"]

Result = TypeVar("Result")


class BusyError(Exception):
    """Too much slow work is waiting already."""


class Workers:
    """The threads of one server.

    Args:
        slow_jobs: How many slow jobs may wait for their turn.
    """

    def __init__(self, slow_jobs: int) -> None:
        self._quick = ThreadPoolExecutor(max(2, os.cpu_count() or 1), "unrolled-quick")
        self._slow = ThreadPoolExecutor(1, "unrolled-slow")
        self._slow_jobs = slow_jobs
        self._waiting = 0

    async def quick(self, job: Callable[[], Result]) -> Result:
        """Do `job`, which takes milliseconds, when it is its turn."""
        return await asyncio.get_running_loop().run_in_executor(self._quick, job)

    async def slow(self, job: Callable[[], Result]) -> Result:
        """Do `job`, which may take seconds.

        Raises:
            BusyError: Too many are waiting.
        """
        if self._waiting >= self._slow_jobs:
            raise BusyError
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._slow, job)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let what has begun end, and drop what has not."""
        self._quick.shutdown(wait=False, cancel_futures=True)
        self._slow.shutdown(wait=False, cancel_futures=True)
