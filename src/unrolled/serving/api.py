"""The API: each question answered from the visitor's own session. Errors are in `app.py`."""

import secrets
from base64 import b64decode
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from fastapi.responses import StreamingResponse

from unrolled.errors import OptionError
from unrolled.kernels import packing_once
from unrolled.serving import schema
from unrolled.serving.answers import floats, map_answer, rank_answer, read_answer
from unrolled.serving.gradient import look_back
from unrolled.serving.limits import Limits
from unrolled.serving.predictions import predict_medium, predict_text
from unrolled.serving.reading import Reading, read, unit_view
from unrolled.serving.runs import LanguageRun, Runs, TaskRun
from unrolled.serving.sessions import Session, Sessions
from unrolled.serving.workers import Workers
from unrolled.serving.writing import Writing, written_lines
from unrolled.tasks.lm.sampling import default_prompt, generate

__all__ = ["ApiError", "Services", "make_router"]

_GENERATIONS_OF_A_SESSION = 2
_COUNTS = frozenset({"beam", "n_best", "no_repeat"})  # among the options of predictions


class ApiError(Exception):
    """A question that has no answer.

    Args:
        status: The HTTP status.
        code: For programs.
        message: For people.
        hint: What to do.
    """

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.hint = status, code, message, hint


@dataclass(frozen=True)
class Services:
    """What the answers are made with."""

    runs: Runs
    sessions: Sessions
    workers: Workers
    limits: Limits

    def language_run(self, name: str) -> LanguageRun:
        """Return the language model called `name`, or raise `ApiError`."""
        run = self.any_run(name)
        if not isinstance(run, LanguageRun):
            raise ApiError(409, "task", f"{name} is no language model", "ask /api/predict")
        return run

    def task_run(self, name: str) -> TaskRun:
        """Return the run of another task called `name`, or raise `ApiError`."""
        run = self.any_run(name)
        if not isinstance(run, TaskRun):
            raise ApiError(409, "task", f"{name} is a language model", "ask /api/generate")
        return run

    def any_run(self, name: str) -> LanguageRun | TaskRun:
        """Return the run called `name`, or raise `ApiError`."""
        try:
            return self.runs.get(name)
        except KeyError:
            raise ApiError(404, "run", "there is no such run", "see /api/runs") from None

    def check_length(self, text: str) -> None:
        """Raise `ApiError` if `text` is too long."""
        most = self.limits.text_characters
        if len(text) > most:
            message = f"the text has {len(text):,} characters, at most {most:,} are read"
            raise ApiError(422, "text_length", message, "shorten it")

    def reading(self, session: Session, run: LanguageRun, text: str) -> Reading:
        """Return how `run` reads `text`, going on from what this visitor's text was before."""
        key = (run.name, run.version)
        with session.lock, packing_once(run.packed):
            before = session.readings.get(key)
            reading = read(run.model, run.vocabulary, text, before)
            if reading is not before:
                self.sessions.keep(session, key, reading)
        return reading


def make_router(services: Services) -> APIRouter:
    """Return the routes under /api."""
    failures: dict[int | str, dict[str, Any]] = {
        status: {"model": schema.Failure} for status in (401, 403, 404, 409, 413, 422, 429, 503)
    }
    router = APIRouter(prefix="/api", responses=failures)
    limits, sessions, workers = services.limits, services.sessions, services.workers

    def session_of(x_session: Annotated[str, Header(max_length=64)]) -> Session:
        session = sessions.get(x_session)
        if session is None:
            raise ApiError(404, "session", "no such session, or it has ended", "begin a new one")
        return session

    Visitor = Annotated[Session, Depends(session_of)]

    @router.get("/runs")
    async def runs() -> schema.RunsAnswer:
        """The runs that are served, and the limits."""

        def describe() -> list[dict[str, Any]]:
            return [services.any_run(name).describe() for name in services.runs.names]

        return schema.RunsAnswer(runs=await workers.quick(describe), limits=asdict(limits))

    @router.post("/session")
    async def begin_session() -> schema.SessionAnswer:
        """Begin a session; its name goes into the header X-Session of all that follows."""
        return schema.SessionAnswer(session=sessions.create().id, seconds=limits.session_seconds)

    @router.post("/read")
    async def read_text(question: schema.ReadQuestion, session: Visitor) -> schema.ReadAnswer:
        """Read a text: how surprising each token is, what is expected, a signal to colour by."""
        services.check_length(question.text)

        def job() -> schema.ReadAnswer:
            run = services.language_run(question.run)
            return read_answer(run, services.reading(session, run, question.text), question)

        return await workers.quick(job)

    @router.post("/unit")
    async def look_at_unit(question: schema.UnitQuestion, session: Visitor) -> schema.UnitAnswer:
        """Every number of one unit at every step: pre-activations, gates, states."""
        services.check_length(question.text)

        def job() -> schema.UnitAnswer:
            run = services.language_run(question.run)
            reading = services.reading(session, run, question.text)
            view = unit_view(run.model, reading, question.layer, question.unit)
            parts = {
                part: {name: floats(values) for name, values in getattr(view, part).items()}
                for part in ("x", "u", "values", "before")
            }
            return schema.UnitAnswer(version=str(run.version), **parts)

        return await workers.quick(job)

    @router.post("/map")
    async def map_units(question: schema.MapQuestion, session: Visitor) -> schema.MapAnswer:
        """A heat map of all units of a gate or state over a part of the text."""
        services.check_length(question.text)

        def job() -> schema.MapAnswer:
            run = services.language_run(question.run)
            return map_answer(run, services.reading(session, run, question.text), question)

        return await workers.quick(job)

    @router.post("/rank")
    async def rank(question: schema.RankQuestion, session: Visitor) -> schema.RankAnswer:
        """The units that follow patterns best: line position, speakers' names, quotes ..."""
        services.check_length(question.text)

        def job() -> schema.RankAnswer:
            run = services.language_run(question.run)
            if run.vocabulary.kind != "char":
                raise OptionError("patterns are of characters", f"not {run.vocabulary.kind} tokens")
            reading = services.reading(session, run, question.text)
            return rank_answer(run, reading, question)

        return await workers.quick(job)

    @router.post("/gradient")
    async def gradient(
        question: schema.GradientQuestion, session: Visitor
    ) -> schema.GradientAnswer:
        """How far the loss reaches back in the text, in numbers and in words."""
        services.check_length(question.text)

        def job() -> schema.GradientAnswer:
            run = services.language_run(question.run)
            reading = services.reading(session, run, question.text)
            return look_back(run, reading, question.position)

        return await workers.slow(job)

    @router.post("/generate", response_class=StreamingResponse)
    async def write_on(question: schema.GenerateQuestion, session: Visitor) -> StreamingResponse:
        """Go on from a text: JSON lines `{"text": ...}` as it is drawn, then `{"done": ...}`."""
        services.check_length(question.text)
        if question.length > limits.generate_tokens:
            most = f"at most {limits.generate_tokens:,} tokens are drawn at once"
            raise ApiError(422, "length", most, "ask for fewer, and go on from there")
        run = await workers.quick(lambda: services.language_run(question.run))
        seed = secrets.randbelow(2**53) if question.seed is None else question.seed
        prompt = question.text or default_prompt(run.vocabulary)
        pieces = generate(
            run.model,
            run.vocabulary,
            prompt,
            length=question.length,
            temperature=question.temperature,
            top_k=question.top_k,
            top_p=question.top_p,
            seed=seed,
        )
        if session.generating >= _GENERATIONS_OF_A_SESSION:
            raise ApiError(409, "generating", "this session is writing already", "stop that first")
        shown = "" if question.text else prompt
        lines = written_lines(workers, sessions, session, run, pieces, seed, shown)
        return Writing(lines, session)

    @router.post("/predict")
    async def predict(question: schema.PredictQuestion, session: Visitor) -> schema.PredictAnswer:
        """What a classifier, tagger or translator says of one input."""
        del session  # whoever predicts has one, so that sessions bound the visitors
        services.check_length(question.text)
        run = await workers.quick(lambda: services.task_run(question.run))
        _check_options(run, question.options, limits.hypotheses)

        def job() -> schema.PredictAnswer:
            found = predict_text(run, question.text, question.options)
            return schema.PredictAnswer(version=str(run.version), prediction=found)

        return await workers.slow(job)

    @router.post("/caption")
    async def caption(question: schema.CaptionQuestion, session: Visitor) -> schema.PredictAnswer:
        """The captions of a picture or a recording, with where the model looked for each word."""
        del session
        run = await workers.quick(lambda: services.task_run(question.run))
        _check_options(run, question.options, limits.hypotheses)
        try:
            content = b64decode(question.data, validate=True)
        except ValueError:
            raise OptionError("data must be base64", "encode the file's bytes") from None

        def job() -> schema.PredictAnswer:
            found = predict_medium(run, content, question.options)
            return schema.PredictAnswer(version=str(run.version), prediction=found)

        return await workers.slow(job)

    return router


def _check_options(run: TaskRun, options: dict[str, Any], hypotheses: int) -> None:
    for name in _COUNTS & options.keys():
        value = options[name]
        if type(value) is not int or not 1 <= value <= hypotheses:
            raise OptionError(f"{name} must be a whole number in 1..{hypotheses}, got {value}")
    if excess := sorted(options.keys() - run.task.predict_options):
        raise OptionError(f"{excess[0]} is not for {run.task.name}", "leave it out")
