"""A real Chromium in front of a real server; each page is held to say and fetch nothing amiss."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

uvicorn = pytest.importorskip("uvicorn", reason="the page needs uvicorn")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="the page is driven by playwright, which is not installed"
)

from unrolled.serving.app import create_app  # noqa: E402
from unrolled.serving.guard import Access  # noqa: E402
from unrolled.serving.limits import Limits  # noqa: E402
from unrolled.serving.runs import Runs  # noqa: E402


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
def start_server() -> Iterator[Callable[[list[Path]], str]]:
    servers = []

    def start(paths: list[Path]) -> str:
        app = create_app(Runs(paths), Access(None, True), Limits(burst=1000))
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning")
        server = uvicorn.Server(config)
        listening = config.bind_socket()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        servers.append((server, thread, listening))
        for _ in range(1000):
            if server.started:
                break
            time.sleep(0.01)
        assert server.started
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


@pytest.fixture
def open_page(browser, address) -> Iterator[Callable[..., Any]]:
    """Open the page: its address's options by name, and the browser's width, theme, language."""
    contexts, complaints = [], []

    def open_it(width=1280, theme="light", language="en", at=address, scale=1, height=860, **given):
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=theme,
            locale={"en": "en-GB", "pt": "pt-BR"}[language],
            device_scale_factor=scale,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)

        def hear(message):
            refused = "Failed to load resource" in message.text  # a 4xx, which the page explains
            if message.type in ("error", "warning") and not refused:
                complaints.append(message.text)

        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((at, "data:", "blob:"))
                else complaints.append(f"asked for {request.url}")
            ),
        )
        options = "&".join(f"{name}={value}" for name, value in given.items())
        page.goto(f"{at}/#{options}")
        page.locator("#view > *").first.wait_for()
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []
