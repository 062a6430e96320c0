"""A plugin of pytest: how each test ended, and what a host's layers did, as JSON.

Loaded by `own_tests.py` beside a host's own tests, which stay as they are. Where
`UNROLLED_ACCELERATED` is set, every layer of torch that is made while they run is accelerated.
"""

import json
import os
from collections import Counter
from contextlib import ExitStack
from functools import wraps
from pathlib import Path

import pytest

import unrolled
from unrolled.acceleration.classes import FORWARDS


class Outcomes:
    """What came of each test, and how many calls of layers kernels did and torch did."""

    def __init__(self):
        self.tests, self.calls, self.report = {}, Counter(), None
        self.stack = ExitStack()

    def accelerate(self):
        """Count the calls of all layers to come, and make them run on kernels."""
        for kind, run in FORWARDS.items():
            FORWARDS[kind] = self.counted(run)
        self.report = self.stack.enter_context(unrolled.accelerated())

    def counted(self, run):
        """Return a forward that counts who did the work."""

        @wraps(run)
        def forward(*arguments, **options):
            results = run(*arguments, **options)
            self.calls["torch" if results is None else "kernels"] += 1
            return results

        return forward

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report):
        """Keep the worst of a test's three parts."""
        if report.when == "call" or report.outcome != "passed":
            self.tests[report.nodeid] = "error" if report.when == "setup" else report.outcome
            if report.outcome == "skipped":
                self.tests[report.nodeid] = "skipped"

    @pytest.hookimpl
    def pytest_collectreport(self, report):
        """Count a file that cannot be read as one test."""
        if report.failed:
            self.tests[report.nodeid] = "error"

    @pytest.hookimpl
    def pytest_sessionfinish(self):
        """Write everything."""
        self.stack.close()
        figures = {"tests": self.tests, "calls": self.calls}
        if self.report is not None:
            figures["layers"] = len(self.report.on_kernels)
            figures["left_alone"] = sorted(set(self.report.left_alone.values()))
        Path(os.environ["UNROLLED_OUTCOMES"]).write_text(json.dumps(figures), encoding="utf-8")


def pytest_configure(config):
    """Begin before the host is imported."""
    outcomes = Outcomes()
    if os.environ.get("UNROLLED_ACCELERATED"):
        outcomes.accelerate()
    config.pluginmanager.register(outcomes, "unrolled-outcomes")
