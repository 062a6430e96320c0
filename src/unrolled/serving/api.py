"""The API: each question answered from the visitor's own session. How errors are told: `app.py`."""

import secrets
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from torch import Tensor

from unrolled.data import Source
from unrolled.kernels import EquationsError, StepGraph
from unrolled.languages import best_language, language_names, load_words
from unrolled.networks.options import GenerateOptions
from unrolled.options import Options, option_fields
from unrolled.serving import schema
from unrolled.serving.acting import attribution_answer, held_answer, held_pieces
from unrolled.serving.answers import floats, map_answer, rank_answer, read_answer
from unrolled.serving.errors import ApiError
from unrolled.serving.gradient import look_back
from unrolled.serving.predictions import predict_medium, predict_text
from unrolled.serving.reading import Reading, unit_view
from unrolled.serving.runs import ServedRun
from unrolled.serving.services import Services
from unrolled.serving.sessions import Session
from unrolled.serving.steps import lecture_cells
from unrolled.serving.writing import Writing, written_lines

__all__ = ["router"]

_GENERATIONS_OF_A_SESSION = 2
_FAILURES = (400, 401, 403, 404, 405, 409, 413, 422, 429, 431, 500, 503)

router = APIRouter(
    prefix="/api", responses={status: {"model": schema.Failure} for status in _FAILURES}
)
"""The routes; `app.state.services` is what they answer with."""


async def _services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Serving = Annotated[Services, Depends(_services_of)]


def _session_of(x_session: Annotated[str, Header(max_length=64)], services: Serving) -> Session:
    session = services.sessions.get(x_session)
    if session is None:
        raise ApiError("session", 404)
    return session


Visitor = Annotated[Session, Depends(_session_of)]


@router.get("/runs")
async def runs(services: Serving) -> schema.RunsAnswer:
    """The runs that are served, and the limits."""

    def describe() -> schema.RunsAnswer:
        runs = [run.description for run in services.runs.all()]
        broken = [*services.runs.broken]
        return schema.RunsAnswer(runs=runs, broken=broken, limits=asdict(services.limits))

    return await services.workers.quick(describe)


@router.get("/words")
async def words(
    language: Annotated[str | None, Query(max_length=35, description="A code.")] = None,
    accept_language: Annotated[str, Header(max_length=1000)] = "",
) -> schema.WordsAnswer:
    """All that the page says, in a language that the visitor reads."""
    names = language_names()
    code = language if language in names else best_language(accept_language)
    return schema.WordsAnswer(language=code, languages=names, words=load_words(code))


@router.get("/lecture")
async def lecture(services: Serving) -> schema.LectureAnswer:
    """The cells of the lecture: the graph and the equations of a step of each."""
    return schema.LectureAnswer(cells=await services.workers.quick(lecture_cells))


@router.post("/session")
async def begin_session(services: Serving) -> schema.SessionAnswer:
    """Begin a session; its name goes into the header X-Session of all that follows."""
    return schema.SessionAnswer(
        session=services.sessions.create(), seconds=services.limits.session_seconds
    )


@router.post("/read")
async def read_text(
    question: schema.ReadQuestion, session: Visitor, services: Serving
) -> schema.ReadAnswer:
    """Read a text: how surprising each token is, what is expected, a signal to colour by."""

    def job() -> schema.ReadAnswer:
        run = services.run(question.run)
        reading = services.reading(session, run, question.text)
        answer = read_answer(run, reading, question)
        if run.task.medium is None:
            of_text = services.readable(run, question.text)
            answer.unknown, answer.left_out = of_text.unknown, of_text.left_out
        return answer

    return await services.workers.quick(job)


@router.post("/unit")
async def look_at_unit(
    question: schema.UnitQuestion, session: Visitor, services: Serving
) -> schema.UnitAnswer:
    """Every number of one unit at every step: pre-activations, gates, states."""

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

    return await services.workers.quick(job)


@router.post("/map")
async def map_units(
    question: schema.MapQuestion, session: Visitor, services: Serving
) -> schema.MapAnswer:
    """A heat map of all units of a gate or state over a part of the text."""
    return await services.workers.quick(partial(services.of_text, session, question, map_answer))


@router.post("/rank")
async def rank(
    question: schema.RankQuestion, session: Visitor, services: Serving
) -> schema.RankAnswer:
    """The units that follow patterns best: line position, speakers' names, quotes ..."""
    return await services.workers.quick(partial(services.of_text, session, question, rank_answer))


@router.post("/gradient")
async def gradient(
    question: schema.GradientQuestion, session: Visitor, services: Serving
) -> schema.GradientAnswer:
    """How far the loss reaches back in the text, in numbers and in words."""

    def gradient_of(
        run: ServedRun, reading: Reading, question: schema.GradientQuestion
    ) -> schema.GradientAnswer:
        return look_back(run, reading, question.position)

    return await services.workers.slow(partial(services.of_text, session, question, gradient_of))


@router.post("/intervene")
async def hold(
    question: schema.HoldQuestion, session: Visitor, services: Serving
) -> schema.HoldAnswer:
    """What the network expects while gates, units or states are held, beside what it does."""
    return await services.workers.slow(partial(services.of_text, session, question, held_answer))


@router.post("/attribute")
async def explain(
    question: schema.AttributionQuestion, session: Visitor, services: Serving
) -> schema.AttributionAnswer:
    """How much each token of the text has added to one prediction."""
    return await services.workers.slow(
        partial(services.of_text, session, question, attribution_answer)
    )


@router.post("/generate", response_class=StreamingResponse)
async def write_on(
    question: schema.GenerateQuestion, session: Visitor, services: Serving
) -> StreamingResponse:
    """Go on from a text: JSON lines `{"text": ...}` as it is drawn, then `{"done": ...}`."""
    if question.length > services.limits.generate_tokens:
        raise ApiError("length", most=services.limits.generate_tokens)
    run = await services.run_when_read(question.run)
    task, seed = run.task, question.seed
    if task.prompt is None:
        raise ApiError("task", 409, run=run.name)
    seed = secrets.randbelow(2**53) if seed is None else seed
    readable = services.readable(run, question.text, from_end=True)
    prompt = readable.text or task.prompt
    chosen = question.model_dump(include={"length", "temperature", "top_k", "top_p"})
    pieces = task.generate(run.model, prompt, GenerateOptions(**chosen, seed=seed))
    if question.holds:
        pieces = held_pieces(run, pieces, question.holds)
    if session.generating >= _GENERATIONS_OF_A_SESSION:
        raise ApiError("generating", 409)
    shown = "" if readable.text else prompt
    last = {"seed": seed, "unknown": readable.unknown, "left_out": readable.left_out}
    lines = written_lines(services.workers, services.sessions, session, run, pieces, last, shown)
    return Writing(lines, session)


@router.post("/predict")
async def predict(
    question: schema.PredictQuestion, session: Visitor, services: Serving
) -> schema.PredictAnswer:
    """What a run says of one input, as `unrolled predict` does."""
    del session  # whoever predicts has one, by which their requests are counted
    services.check_length(question.text)
    run = await services.run_when_read(question.run)
    options = _options_of(run, question.options, services.limits.hypotheses)

    def job() -> schema.PredictAnswer:
        text = services.readable(run, question.text).text
        prediction = predict_text(run, text, options)
        return schema.PredictAnswer(version=str(run.version), prediction=prediction)

    return await services.workers.slow(job)


@router.post("/backtest")
async def backtest(
    question: schema.BacktestQuestion, session: Visitor, services: Serving
) -> schema.BacktestAnswer:
    """Forecasts of held-out steps beside what came, each made of what was before it alone."""
    del session  # as of a prediction
    run = await services.run_when_read(question.run)

    def job() -> schema.BacktestAnswer:
        if not run.subject.backtests:
            raise ApiError("no_backtest", 409, run=run.name)
        targets, ahead = (
            [schema.PastForecasts(**each) for each in past] for past in (run.backtest, run.ahead)
        )
        return schema.BacktestAnswer(version=str(run.version), targets=targets, ahead=ahead)

    return await services.workers.slow(job)


@router.post("/caption")
async def caption(
    question: schema.CaptionQuestion, session: Visitor, services: Serving
) -> schema.PredictAnswer:
    """The captions of a picture or a recording, with where the model looked for each word."""
    run = await services.run_when_read(question.run)
    options = _options_of(run, question.options, services.limits.hypotheses)
    try:
        content = b64decode(question.data, validate=True)
    except ValueError:
        raise ApiError("base64") from None

    def job() -> schema.PredictAnswer:
        prediction = predict_medium(run, content, options)
        services.read(session, run, Source.of_bytes(content))
        return schema.PredictAnswer(version=str(run.version), prediction=prediction)

    return await services.workers.slow(job)


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
        raise ApiError("unknown_option", name=excess[0], task=run.task.name)
    for each in option_fields(cls):
        if each.type is int and each.name in values:
            value = values[each.name]
            if type(value) is not int or not 1 <= value <= hypotheses:
                raise ApiError("option_range", name=each.name, most=hypotheses, got=value)
    return cls(**values)
