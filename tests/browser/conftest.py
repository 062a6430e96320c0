"""A real Chromium in front of a real server; each page is held to say and fetch nothing amiss."""

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

pytest.importorskip("uvicorn", reason="the page needs uvicorn")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="the page is driven by playwright, which is not installed"
)

from support.runs import run_of  # noqa: E402
from unrolled.serving.app import create_app, make_server  # noqa: E402
from unrolled.serving.guard import Access  # noqa: E402
from unrolled.serving.limits import Limits  # noqa: E402
from unrolled.serving.runs import Runs  # noqa: E402

OWN_CELL = '''
"""A cell of somebody's own: its gate sees the state through a weight of each unit."""

import torch
from torch import sigmoid

import unrolled


@unrolled.cell(gates="f g", states="h c", keeps="f")
def squared(x, u, c, *, p=0.5):
    f = sigmoid(x.f + u.f + p * c)
    g = torch.relu(x.g + u.g - 0.25)
    c = f * c + (1 - f) * g**2
    return dict(h=c / torch.clamp(c, min=1.0), c=c, f=f, g=g)
'''
WORDS = ("zero", "one", "two", "three", "four", "five")
PAIRS = [(a, b) for a in WORDS for b in WORDS]


@pytest.fixture(scope="session")
def own_runs(tmp_path_factory, small_text) -> dict[str, Path]:
    """Language models by the name of their cell: one of somebody's own, GRU with reset before."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "cells.py").write_text(OWN_CELL)
    (folder / "text.txt").write_text(small_text * 400)
    cells = {"squared": f"{folder}/cells.py:squared", "before": "gru_reset_before"}
    data = {"files": (str(folder / "text.txt"),)}
    return {name: run_of("lm", data, folder / name, cell=cell) for name, cell in cells.items()}


@pytest.fixture(scope="session")
def task_runs(tmp_path_factory) -> dict[str, Path]:
    """Runs of other tasks, each by what it is."""
    Image = pytest.importorskip("PIL.Image", reason="pictures need pillow")
    folder = tmp_path_factory.mktemp("tasks")
    rows = [f"{a} {b} is,{'good' if a < b else 'bad'}" for a, b in PAIRS]
    (folder / "reviews.csv").write_text("\n".join(["text,class", *rows]) + "\n")
    reviews = {"files": (f"{folder}/reviews.csv",), "input": ("text",), "target": "class"}
    (folder / "tags.conll").write_text("".join(f"{a}\tB-X\n{b}\tI-X\nis\tO\n\n" for a, b in PAIRS))
    (folder / "pairs.tsv").write_text("".join(f"{a} and {b}\t{b} et {a}\n" for a, b in PAIRS))
    pairs = {"file": f"{folder}/pairs.tsv", "tokens": "word", "test": 0.1, "held_out": 0.1}
    rows = ["file\twords"]
    for number in range(24):
        Image.new("RGB", (8, 8), (10 * number, 100, 50)).save(folder / f"{number}.png")
        rows.append(f"{number}.png\tpicture {WORDS[number % 6]} of {number}")
    (folder / "pictures.tsv").write_text("\n".join(rows) + "\n")
    pictures = {"file": f"{folder}/pictures.tsv", "media": "file", "text": "words"}
    numbers = {"problem": "adding", "num_examples": 24}
    rows = [
        f"{case},{5 + t * case % 7},{-t},{'up' if case % 2 else 'down'}"
        for case in range(40)
        for t in range(4)
    ]
    (folder / "cases.csv").write_text("\n".join(["case,a,b,way", *rows, ""]))
    cases = {"files": (f"{folder}/cases.csv",), "id": "case", "target": "way", "scale": "both"}
    rows = [
        f"2024-{1 + n // 28:02}-{1 + n % 28:02},{n % 7 + n / 10},{50 - n % 5}" for n in range(28)
    ]
    (folder / "days.csv").write_text("\n".join(["day,sales,cost", *rows, ""]))
    days = {"file": f"{folder}/days.csv", "time": "day", "target": ("sales", "cost")}
    days |= {"horizon": 3, "lookback": 5, "held_out": 0.3, "test": 0.0}
    sets = "".join(f"{n % 5} 9 | {n % 3} | 9 {n % 4} | {n % 2}\n" for n in range(60))
    (folder / "sets.txt").write_text(sets)
    return {
        "classifier": run_of("classify", reviews, folder / "classifier", bidirectional=True),
        "series": run_of("classify", cases, folder / "series"),
        "tagger": run_of("tag", {"file": f"{folder}/tags.conll"}, folder / "tagger"),
        "translator": run_of("translate", pairs, folder / "translator"),
        "delayed": run_of("translate", pairs, folder / "delayed", delay=3),
        "captioner": run_of(
            "caption", pictures | {"picture_size": 8}, folder / "captioner", channels=4
        ),
        "forecaster": run_of("forecast", days, folder / "forecaster", loss="quantile"),
        "covariates": run_of(
            "forecast",
            days | {"target": ("sales",), "past": ("cost",), "horizon": 1},
            folder / "covariates",
            loss="mae",
        ),
        "sets": run_of("multilabel", {"file": f"{folder}/sets.txt"}, folder / "sets"),
        "numbers": run_of("toy", numbers, folder / "numbers", cell="tcn"),
    }


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """What makes a run of a task, for tests that want one of their own."""
    return run_of


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where the system's Chromium is."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    return found


@pytest.fixture(scope="session")
def browser(chromium) -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def start_server() -> Iterator[Callable[..., str]]:
    servers = []

    def start(paths: list[Path], token: str | None = None) -> str:
        runs = Runs(paths, trust_code=True)
        server = make_server(create_app(runs, Access(token, True), Limits(burst=1000)))
        listening = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        servers.append((server, thread, listening))
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield start
    for server, thread, listening in servers:
        server.should_exit = True
        thread.join(10)
        listening.close()


@pytest.fixture(scope="session")
def address(start_server, small_runs) -> str:
    names = ("lstm", "gru", "janet", "rnn", "tcn", "deep")
    return start_server([small_runs[name] for name in names])


class Pages:
    """Pages of a browser that tests borrow one after the other: a new one costs a process.

    Whoever borrows a page finds nothing that others have stored, changed or listened to.
    """

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._idle: dict[str, list[Any]] = {}
        self._lent: list[tuple[str, Any, dict[str, Callable[[Any], None]]]] = []

    def borrow(
        self,
        width: int,
        height: int,
        theme: str,
        listeners: dict[str, Any],
        before: str = "",
        **context: Any,
    ) -> Any:
        """Return an empty page, which runs `before` ahead of all others, and tells listeners."""
        kind = repr((before, sorted(context.items())))
        idle = self._idle.setdefault(kind, [])
        if not idle:
            idle.append(self._browser.new_context(**context).new_page())
            idle[0].add_init_script(before)
            idle[0].set_default_timeout(90_000)
        page = idle.pop()
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=theme)
        for event, listener in listeners.items():
            page.on(event, listener)
        self._lent.append((kind, page, listeners))
        return page

    def give_back(self, are_fine: Callable[[], bool]) -> None:
        """Take all pages back, and close them where something is amiss."""
        for kind, page, listeners in self._lent:
            if not are_fine():
                page.context.close()
                continue
            page.unroute_all()
            page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
            if not are_fine():  # what it still had to say
                page.context.close()
                continue
            for event, listener in listeners.items():
                page.remove_listener(event, listener)
            page.context.clear_cookies()
            page.goto("about:blank")
            page.mouse.move(0, 0)
            self._idle[kind].append(page)
        self._lent.clear()


@pytest.fixture(scope="session")
def pages(browser) -> Pages:
    return Pages(browser)


@pytest.fixture
def open_page(pages, address) -> Iterator[Callable[..., Any]]:
    """Open the page: its address's options by name, and the browser's width, theme, language."""
    complaints = []

    def hear(message):
        refused = "Failed to load resource" in message.text  # a 4xx, which the page explains
        if message.type in ("error", "warning") and not refused:
            complaints.append(message.text)

    def open_it(width=1280, theme="light", language="en-GB", at=address, height=860, **given):
        def look_at(request):
            if not request.url.startswith((at, "data:", "blob:")):
                complaints.append(f"asked for {request.url}")

        listeners = {
            "console": hear,
            "pageerror": lambda error: complaints.append(str(error)),
            "dialog": lambda dialog: complaints.append(dialog.message),
            "request": look_at,
        }
        page = pages.borrow(width, height, theme, listeners, locale=language)
        page.goto(f"{at}/#{urlencode(given)}")
        page.locator("#view > *").first.wait_for()
        return page

    yield open_it
    pages.give_back(lambda: complaints == [])
    assert complaints == []
