"""How soon a page in Chromium writes: from its opening, from the click, to the first character.

    python benchmarks/bench_first_character.py [--hidden-size 128] [--weights int8] [--rounds 9]

The page is that of a character model of one LSTM with random weights and 100 symbols, opened from a
disk each time in a new context, so that nothing is kept from the one before. "ready" is from the
beginning of the navigation until the page takes a click, the module compiled and the weights in its
memory; "first" from the click until a character stands on the page. Said are the median of each
and the quarters. Needs Chromium and the extra dev.
"""

import argparse
import gzip
import string
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_wasm import chromium
from playwright.sync_api import sync_playwright

from unrolled.benchmark.machine import available_cores, load, processor
from unrolled.export import to_wasm
from unrolled.tasks import find_task, options_of, prepare
from unrolled.training import save_weights

TIMED = """
new MutationObserver(() => {
  const go = document.querySelector("#go"), output = document.querySelector("#output");
  if (go && !go.disabled && !window.ready) {
    window.ready = performance.now();
    document.querySelector("#input").value = "to be";
    window.clicked = performance.now();
    go.click();
  }
  if (output?.textContent && !window.first) window.first = performance.now();
}).observe(document, { attributes: true, characterData: true, childList: true, subtree: true });
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--weights", default="int8")
    parser.add_argument("--rounds", type=int, default=9)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        page = written(Path(name), chosen)
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        cores = f"{available_cores()} cores, load {load():.1f}"
        print(f"{processor()}, {cores}, Chromium {browser.version}")
        content = page.read_bytes()
        print(f"{len(content):,} bytes, {len(gzip.compress(content)):,} compressed by gzip")
        times = np.array([opened(browser, page) for _ in range(chosen.rounds)])
        for label, column in zip(("ready", "first", "both"), times.T, strict=True):
            low, middle, high = np.percentile(column, (25, 50, 75))
            print(f"{label}: {middle:.0f} ms ({low:.0f} ... {high:.0f})")
        browser.close()


def opened(browser: Any, path: Path) -> tuple[float, float, float]:
    """Return the milliseconds of one opening: until it is ready, from then on, altogether."""
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(TIMED)
    page.goto(f"file://{path}")
    page.wait_for_function("window.first")
    ready, clicked, first = page.evaluate("[window.ready, window.clicked, window.first]")
    context.close()
    return ready, first - clicked, first


def written(folder: Path, chosen: argparse.Namespace) -> Path:
    """Write the page of a model that has learned nothing."""
    (folder / "text.txt").write_text(string.printable * 40)
    options = options_of("lm")
    torch.manual_seed(0)
    trainer = prepare(
        find_task("lm"),
        options.DataOptions(files=(f"{folder}/text.txt",)),
        folder / "run",
        model=options.ModelOptions(cell="lstm", hidden_size=chosen.hidden_size, num_layers=1),
        training=options.TrainingOptions(epochs=1),
    ).trainer
    save_weights(trainer.run.weights_path, trainer.model)
    to_wasm(trainer.run.path, folder / "page", weights=chosen.weights)
    return folder / "page" / "index.html"


if __name__ == "__main__":
    main()
