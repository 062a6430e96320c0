"""Threads that compute, so that the server can go on listening.

Three kinds, each with threads of its own, so that none waits for another: answers that take
milliseconds; texts that are written, in slices of a few tokens, everybody in turn; and what may
take seconds, by a single thread.
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
        num_threads = max(2, os.cpu_count() or 1)
        self._quick = ThreadPoolExecutor(num_threads, "unrolled-quick")
        self._writing = ThreadPoolExecutor(num_threads, "unrolled-writing")
        self._slow = ThreadPoolExecutor(1, "unrolled-slow")
        self._slow_jobs = slow_jobs
        self._waiting = 0

    async def quick(self, job: Callable[[], Result]) -> Result:
        """Do `job`, which takes milliseconds, when it is its turn."""
        return await asyncio.get_running_loop().run_in_executor(self._quick, job)

    async def write(self, job: Callable[[], Result]) -> Result:
        """Do `job`, a slice of a text, when it is its turn among all texts."""
        return await asyncio.get_running_loop().run_in_executor(self._writing, job)

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
        self._writing.shutdown(wait=False, cancel_futures=True)
        self._slow.shutdown(wait=False, cancel_futures=True)
