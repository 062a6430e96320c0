"""Whether an installed `unrolled` works: its files, its cells, its commands. For a new environment.

    python -P packaging/smoke.py

With Python's own unittest, so that the environment holds what a user's does. Not whether kernels
of a wheel are right and fast (`installed.py`), and no training of the README's size.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import unittest
from importlib.metadata import distribution, requires
from pathlib import Path

import torch

import unrolled
from unrolled.cells.catalogue import CATALOGUE

PACKAGE = Path(unrolled.__file__).parent


def unrolled_command(*words: str, folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-P", "-m", "unrolled", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


class Installed(unittest.TestCase):
    def test_it_is_the_installed_package_and_not_the_repository(self):
        # A wheel with kernels goes to platlib, which is another folder on some systems.
        folders = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
        self.assertIn(PACKAGE.parent, folders)

    def test_every_file_of_the_record_is_there(self):
        files = distribution("unrolled").files
        missing = [str(f) for f in files if not Path(str(f.locate())).exists()]
        self.assertEqual(missing, [])
        self.assertGreater(len(files), 300)

    def test_data_files_came_along(self):
        for name in ("serving/static/index.html", "languages/pt-BR.json", "py.typed"):
            self.assertTrue((PACKAGE / name).is_file(), name)
        self.assertTrue((PACKAGE / "export" / "wasm" / "prebuilt" / "cells.wasm").is_file())
        self.assertTrue((PACKAGE / "kernels" / "emitting" / "headers" / "kernel.h").is_file())

    def test_licence_and_notice_came_along(self):
        names = {Path(str(f)).name for f in distribution("unrolled").files if "licenses" in str(f)}
        self.assertLessEqual({"LICENSE", "NOTICE"}, names)

    def test_it_asks_for_no_more_than_its_core(self):
        core = [r for r in requires("unrolled") if "extra ==" not in r]
        names = {re.match(r"[\w.-]+", r)[0] for r in core}
        self.assertIn("torch", names)
        self.assertNotIn("plotly", names)
        self.assertNotIn("polars", names)


class Works(unittest.TestCase):
    def test_lstm_gives_torchs_numbers_and_gradients(self):
        torch.manual_seed(0)
        theirs = torch.nn.LSTM(5, 7)
        ours = unrolled.LSTM(5, 7)
        ours.load_state_dict(theirs.state_dict())
        x = torch.randn(6, 3, 5)
        expected, got = theirs(x)[0], ours(x)[0]
        expected.square().sum().backward()
        got.square().sum().backward()
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
        for name, weight in theirs.named_parameters():
            gradient = ours.get_parameter(name).grad
            torch.testing.assert_close(gradient, weight.grad, rtol=1e-5, atol=1e-5)

    def test_the_catalogue_can_be_read(self):
        self.assertGreaterEqual(len(CATALOGUE), 80)

    def test_the_commands_version_is_that_of_the_package(self):
        with tempfile.TemporaryDirectory() as folder:
            done = unrolled_command("--version", folder=Path(folder))
        self.assertEqual(done.stdout.strip(), f"unrolled {distribution('unrolled').version}")

    def test_a_model_is_trained_and_writes(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "book.txt").write_text("to be or not to be, " * 400, encoding="utf-8")
            words = ("train", "lm", "book.txt", "--updates", "20", "--hidden-size", "16")
            done = unrolled_command(*words, "--run", "run", folder=folder)
            self.assertEqual(done.returncode, 0, done.stderr)
            results = json.loads((folder / "run" / "results.json").read_text(encoding="utf-8"))
            self.assertTrue(results)
            done = unrolled_command("generate", "run", "--length", "10", folder=folder)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertGreaterEqual(len(done.stdout.rstrip("\n")), 10)

    def test_a_mistake_is_one_line_without_a_traceback(self):
        with tempfile.TemporaryDirectory() as folder:
            done = unrolled_command("train", "lm", "nowhere.txt", folder=Path(folder))
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn("Traceback", done.stderr)
        self.assertIn("nowhere.txt", done.stderr)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache:
        os.environ["UNROLLED_CACHE"] = cache
        unittest.main(exit=True, verbosity=1)
