"""The server does what its OpenAPI description says, for questions drawn from it and against it."""

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="the description is tried by it")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from schemathesis import GenerationMode, checks  # noqa: E402

from unrolled.serving.app import create_app  # noqa: E402
from unrolled.serving.guard import Access  # noqa: E402
from unrolled.serving.limits import Limits  # noqa: E402
from unrolled.serving.runs import Runs  # noqa: E402

OPERATIONS = (
    *("GET /api/runs", "GET /api/words", "GET /api/lecture", "POST /api/session"),
    *(
        "POST /api/read",
        "POST /api/unit",
        "POST /api/map",
        "POST /api/rank",
        "POST /api/gradient",
        "POST /api/generate",
    ),
    *("POST /api/predict", "POST /api/caption", "POST /api/backtest"),
    *("POST /api/intervene", "POST /api/attribute"),
)
NUM_DRAWN = 60 if settings.get_current_profile_name() == "explore" else 25
HELD = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
]


class WithoutEnd:
    """An application that does not end with the client of a single question."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        for part in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{part}.complete"})


@pytest.fixture(scope="module")
def described(task_runs, small_runs):
    """The operations of the server's description by their names; it knows the runs' names."""
    paths = [task_runs[name] for name in ("reviews", "tags", "translator", "captions")]
    runs = Runs([*paths, small_runs["lstm"]])
    app = create_app(runs, Access(None, False), Limits(requests_per_second=10**6, burst=10**6))
    for schema in app.openapi()["components"]["schemas"].values():
        if "run" in schema.get("properties", {}):
            schema["properties"]["run"]["enum"] = runs.names
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", WithoutEnd(app))
    return {each.ok().label: each.ok() for each in schema.get_all_operations()}


def test_every_operation_is_tried(described):
    assert described.keys() == {*OPERATIONS}


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_server_answers_as_it_is_described(described, name, mode):
    operation = described[name]
    take_nothing = ("GET /api/runs", "GET /api/lecture", "POST /api/session")
    if mode is GenerationMode.NEGATIVE and name in take_nothing:
        return  # there is nothing that could be wrong
    known = {"X-Session": operation.schema.app.app.state.services.sessions.create()}
    questions = operation.as_strategy(generation_mode=mode, headers=known)
    if mode is GenerationMode.NEGATIVE:  # without a session as well
        questions |= operation.as_strategy(generation_mode=mode)

    @given(questions)
    @settings(max_examples=NUM_DRAWN, deadline=None, suppress_health_check=list(HealthCheck))
    def answers(case):
        case.call_and_validate(checks=HELD)

    answers()
