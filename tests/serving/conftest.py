from collections.abc import Callable

import pytest

starlette = pytest.importorskip("starlette.testclient", reason="the page needs fastapi and httpx2")

from unrolled.serving.app import create_app  # noqa: E402
from unrolled.serving.guard import Access  # noqa: E402
from unrolled.serving.limits import Limits  # noqa: E402
from unrolled.serving.runs import Runs  # noqa: E402

HERE = "http://127.0.0.1:8000"


@pytest.fixture(scope="session")
def runs(small_runs) -> Runs:
    return Runs(list(small_runs.values()))


@pytest.fixture
def serve(runs) -> Callable[..., "starlette.TestClient"]:
    """Start a server with given limits; its client has a session."""
    clients = []

    def start(access=None, base_url=HERE, session=True, served=None, **limits):
        app = create_app(served or runs, access or Access(None, True), Limits(**limits))
        client = starlette.TestClient(app, base_url=base_url, raise_server_exceptions=False)
        client.__enter__()
        clients.append(client)
        if session:
            answer = client.post("/api/session")
            client.headers["X-Session"] = answer.json()["session"]
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serve) -> "starlette.TestClient":
    return serve(requests_per_second=10_000, burst=10_000)
