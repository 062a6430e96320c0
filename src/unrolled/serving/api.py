"""The API: each question answered from the visitor's own session. Errors are in `app.py`."""

import secrets
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse
from torch import Tensor

from unrolled.data import Source
from unrolled.errors import OptionError
from unrolled.kernels import EquationsError, StepGraph, caching_weights
from unrolled.languages import best_language, language_names, load_words
from unrolled.networks.options import GenerateOptions
from unrolled.options import Options, option_fields
from unrolled.serving import schema
from unrolled.serving.answers import floats, map_answer, rank_answer, read_answer
from unrolled.serving.gradient import look_back
from unrolled.serving.limits import Limits
from unrolled.serving.predictions import predict_medium, predict_text
from unrolled.serving.reading import Reading, read, unit_view
from unrolled.serving.runs import Runs, ServedRun
from unrolled.serving.sessions import Session, Sessions
from unrolled.serving.workers import Workers
from unrolled.serving.writing import Writing, written_lines

__all__ = ["ApiError", "Services", "make_router"]

_GENERATIONS_OF_A_SESSION = 2


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

    def run(self, name: str) -> ServedRun:
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

    def reading(self, session: Session, run: ServedRun, text: str) -> Reading:
        """Return how `run` reads `text`, going on from what this visitor's text was before.

        Who describes pictures or recordings has read the last one that this visitor gave.
        """
        if run.task.medium is None:
            return self.read(session, run, Source.text(text))
        last = self.sessions.recall(session, (run.name, run.version))
        if last is None:
            message = f"no {run.task.medium} is remembered: none was given, or too long ago"
            raise ApiError(409, "medium", message, "send one to /api/caption")
        return last

    def read(self, session: Session, run: ServedRun, source: Source) -> Reading:
        """Return how `run` reads a source, and remember it."""
        key = (run.name, run.version)
        with session.lock, caching_weights(run.weight_cache):
            before = self.sessions.recall(session, key)
            reading = read(run.subject, source, before)
            if reading is not before:
                self.sessions.keep(session, key, reading)
        return reading


def make_router(services: Services) -> APIRouter:
    """Return the routes under /api."""
    statuses = (400, 401, 403, 404, 405, 409, 413, 422, 429, 431, 500, 503)
    failures: dict[int | str, dict[str, Any]] = {
        status: {"model": schema.Failure} for status in statuses
    }
    router = APIRouter(prefix="/api", responses=failures)
    limits, sessions, workers = services.limits, services.sessions, services.workers

    def session_of(x_session: Annotated[str, Header(max_length=64)]) -> Session:
        session = sessions.get(x_session)
        if session is None:
            raise ApiError(404, "session", "this server has no such session", "begin a new one")
        return session

    Visitor = Annotated[Session, Depends(session_of)]

    @router.get("/runs")
    async def runs() -> schema.RunsAnswer:
        """The runs that are served, and the limits."""

        def describe() -> schema.RunsAnswer:
            services.runs.look_at_all()
            runs = [services.run(name).description for name in services.runs.names]
            broken = [*services.runs.broken]
            return schema.RunsAnswer(runs=runs, broken=broken, limits=asdict(limits))

        return await workers.quick(describe)

    @router.get("/words")
    async def words(
        language: Annotated[str | None, Query(max_length=35, description="A code.")] = None,
        accept_language: Annotated[str, Header(max_length=1000)] = "",
    ) -> schema.WordsAnswer:
        """All that the page says, in a language that the visitor reads."""
        names = language_names()
        code = language if language in names else best_language(accept_language)
        return schema.WordsAnswer(language=code, languages=names, words=load_words(code))

    @router.post("/session")
    async def begin_session() -> schema.SessionAnswer:
        """Begin a session; its name goes into the header X-Session of all that follows."""
        return schema.SessionAnswer(session=sessions.create(), seconds=limits.session_seconds)

    @router.post("/read")
    async def read_text(question: schema.ReadQuestion, session: Visitor) -> schema.ReadAnswer:
        """Read a text: how surprising each token is, what is expected, a signal to colour by."""
        services.check_length(question.text)

        def job() -> schema.ReadAnswer:
            run = services.run(question.run)
            return read_answer(run, services.reading(session, run, question.text), question)

        return await workers.quick(job)

    @router.post("/unit")
    async def look_at_unit(question: schema.UnitQuestion, session: Visitor) -> schema.UnitAnswer:
        """Every number of one unit at every step: pre-activations, gates, states."""
        services.check_length(question.text)

        def job() -> schema.UnitAnswer:
            run = services.run(question.run)
            reading = services.reading(session, run, question.text)
            graph = _graph_of(run)
            view = unit_view(run.subject, reading, question.part, question.unit, graph)

            def numbers(named: Mapping[str, Tensor]) -> dict[str, list[float]]:
                return {name: floats(values) for name, values in named.items()}

            return schema.UnitAnswer(
                version=str(run.version),
                x=numbers(view.terms.x),
                u=numbers(view.terms.u),
                values=numbers(view.values),
                before=numbers(view.before),
                inner=numbers(view.inner),
            )

        return await workers.quick(job)

    @router.post("/map")
    async def map_units(question: schema.MapQuestion, session: Visitor) -> schema.MapAnswer:
        """A heat map of all units of a gate or state over a part of the text."""
        services.check_length(question.text)

        def job() -> schema.MapAnswer:
            run = services.run(question.run)
            return map_answer(run, services.reading(session, run, question.text), question)

        return await workers.quick(job)

    @router.post("/rank")
    async def rank(question: schema.RankQuestion, session: Visitor) -> schema.RankAnswer:
        """The units that follow patterns best: line position, speakers' names, quotes ..."""
        services.check_length(question.text)

        def job() -> schema.RankAnswer:
            run = services.run(question.run)
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
            run = services.run(question.run)
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
        run = await workers.quick(lambda: services.run(question.run))
        task, seed = run.task, question.seed
        if task.prompt is None:
            raise ApiError(409, "task", f"{run.name} writes no text by itself", "ask /api/predict")
        seed = secrets.randbelow(2**53) if seed is None else seed
        prompt = question.text or task.prompt
        chosen = question.model_dump(include={"length", "temperature", "top_k", "top_p"})
        pieces = task.generate(run.model, prompt, GenerateOptions(**chosen, seed=seed))
        if session.generating >= _GENERATIONS_OF_A_SESSION:
            raise ApiError(409, "generating", "this session is writing already", "stop that first")
        shown = "" if question.text else prompt
        lines = written_lines(workers, sessions, session, run, pieces, seed, shown)
        return Writing(lines, session)

    @router.post("/predict")
    async def predict(question: schema.PredictQuestion, session: Visitor) -> schema.PredictAnswer:
        """What a run says of one input, as `unrolled predict` does."""
        del session  # whoever predicts has one, by which their requests are counted
        services.check_length(question.text)
        run = await workers.quick(lambda: services.run(question.run))
        options = _options_of(run, question.options, limits.hypotheses)

        def job() -> schema.PredictAnswer:
            prediction = predict_text(run, question.text, options)
            return schema.PredictAnswer(version=str(run.version), prediction=prediction)

        return await workers.slow(job)

    @router.post("/caption")
    async def caption(question: schema.CaptionQuestion, session: Visitor) -> schema.PredictAnswer:
        """The captions of a picture or a recording, with where the model looked for each word."""
        run = await workers.quick(lambda: services.run(question.run))
        options = _options_of(run, question.options, limits.hypotheses)
        try:
            content = b64decode(question.data, validate=True)
        except ValueError:
            raise OptionError("data must be base64", "encode the file's bytes") from None

        def job() -> schema.PredictAnswer:
            prediction = predict_medium(run, content, options)
            services.read(session, run, Source.of_bytes(content))
            return schema.PredictAnswer(version=str(run.version), prediction=prediction)

        return await workers.slow(job)

    return router


def _graph_of(run: ServedRun) -> StepGraph | None:
    """Return the step of a run's cell; None of a cell whose step is no graph, and without one."""
    try:
        return run.step.graph if run.subject.recurrent is not None else None
    except EquationsError:
        return None


def _options_of(run: ServedRun, values: dict[str, Any], hypotheses: int) -> Options:
    """Return the options of a prediction, none of which asks for more than the server gives."""
    cls = run.task.option_classes.predict
    if excess := sorted(values.keys() - {*run.task.predict_options}):
        raise OptionError(f"{excess[0]} is not for {run.task.name}", "leave it out")
    for each in option_fields(cls):
        if each.type is int and each.name in values:
            value = values[each.name]
            if type(value) is not int or not 1 <= value <= hypotheses:
                message = f"{each.name} must be a whole number in 1..{hypotheses}"
                raise OptionError(f"{message}, got {value}")
    return cls(**values)
