"""What goes in and out of the API. OpenAPI describes it from here."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from unrolled.inspection.attribution import Method

__all__ = [
    "AttributionAnswer",
    "AttributionQuestion",
    "BacktestAnswer",
    "BacktestQuestion",
    "Candidate",
    "CaptionQuestion",
    "Failure",
    "GenerateQuestion",
    "GradientAnswer",
    "GradientQuestion",
    "HoldAnswer",
    "HoldOf",
    "HoldQuestion",
    "LectureAnswer",
    "MapAnswer",
    "MapQuestion",
    "Measured",
    "PredictAnswer",
    "PredictQuestion",
    "Problem",
    "RankAnswer",
    "RankQuestion",
    "RankedUnit",
    "ReadAnswer",
    "ReadQuestion",
    "RunsAnswer",
    "SessionAnswer",
    "Signal",
    "TextQuestion",
    "UnitAnswer",
    "UnitQuestion",
    "WordsAnswer",
]


_MOST_ENTRIES = 32  # each one too many would be an error of its own: 6 MB of them cost gigabytes


def _few(content: Any) -> Any:
    if isinstance(content, dict | list) and len(content) > _MOST_ENTRIES:
        raise ValueError(f"at most {_MOST_ENTRIES} entries are read")
    return content


class _Question(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    _few = model_validator(mode="before")(_few)


def _number_or_switch(value: Any) -> Any:
    """Say in one sentence what a union of types would say in three, of which one is shown."""
    if not isinstance(value, bool | int | float):
        raise ValueError("a number, true or false is expected")
    return value


_OptionValue = Annotated[bool | int | float, BeforeValidator(_number_or_switch)]
PredictOptions = Annotated[dict[str, _OptionValue], BeforeValidator(_few)]
"""Options of a prediction by their names."""


class TextQuestion(_Question):
    """A text, and who is to read it."""

    run: Annotated[str, Field(max_length=256, description="The name of a run.")]
    text: Annotated[str, Field(description="At most `limits.text_characters` long.")]


class Signal(_Question):
    """A gate or a state to colour the text by."""

    part: Annotated[int, Field(ge=0, description="Of the run's `parts`: layer, direction.")] = 0
    name: Annotated[str, Field(max_length=64, description="As in the cell's equations: f, c, h.")]
    unit: Annotated[int | None, Field(ge=0, description="None: the mean of all units.")] = None


class ReadQuestion(TextQuestion):
    """Read a text."""

    signal: Signal | None = None
    position: Annotated[
        int | None, Field(ge=0, description="Candidates after this token; the last if None.")
    ] = None
    expected: Annotated[bool, Field(description="Also the likeliest after every token.")] = False


class UnitQuestion(TextQuestion):
    """All numbers of one unit over a text."""

    part: Annotated[int, Field(ge=0)] = 0
    unit: Annotated[int, Field(ge=0)] = 0


class MapQuestion(TextQuestion):
    """A heat map of all units over a part of a text."""

    part: Annotated[int, Field(ge=0)] = 0
    name: Annotated[str, Field(max_length=64)]
    start: Annotated[int, Field(ge=0, description="The first token.")] = 0
    stop: Annotated[int, Field(ge=1, description="After the last; at most 400 further.")]


class RankQuestion(TextQuestion):
    """Which units follow patterns in the text."""

    part: Annotated[int, Field(ge=0)] = 0
    name: Annotated[str, Field(max_length=64)]


class GradientQuestion(TextQuestion):
    """How far the loss reaches back."""

    position: Annotated[
        int | None, Field(ge=0, description="From this token; None: the mean over the text.")
    ] = None


_Unit = Annotated[int, Field(ge=0)]


class HoldOf(_Question):
    """A value that a gate or a state is held at."""

    name: Annotated[str, Field(max_length=64, description="As in the cell's equations: f, c, h.")]
    value: Annotated[float, Field(ge=-1e6, le=1e6)]
    part: Annotated[int | None, Field(ge=0, description="Of the run's `parts`; None: all.")] = None
    units: Annotated[
        list[_Unit] | None, BeforeValidator(_few), Field(description="At most 32; None: all.")
    ] = None
    start: Annotated[int | None, Field(ge=0, description="From this step on.")] = None
    stop: Annotated[int | None, Field(ge=0, description="Up to, and without, this step.")] = None


_Holds = Annotated[
    list[HoldOf],
    BeforeValidator(_few),
    Field(description="At most 32; of the same, the last counts."),
]


class HoldQuestion(TextQuestion):
    """Read a text while values are held."""

    holds: _Holds
    position: Annotated[
        int | None, Field(ge=0, description="Candidates after this token; the last if None.")
    ] = None


class AttributionQuestion(TextQuestion):
    """What a prediction is made of."""

    position: Annotated[
        int | None, Field(ge=0, description="Of what is said after this token; the last if None.")
    ] = None
    method: Annotated[Method, Field(description="Of attribution.")] = "integrated"


class GenerateQuestion(TextQuestion):
    """Go on from a text."""

    length: Annotated[int, Field(ge=1, description="Tokens; see `limits.generate_tokens`.")] = 200
    temperature: Annotated[float, Field(ge=0, le=10, description="0 takes the likeliest.")] = 1.0
    top_k: Annotated[int | None, Field(ge=1)] = None
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    seed: Annotated[int | None, Field(ge=0, lt=2**53, description="None: from the system.")] = None
    holds: Annotated[_Holds, Field(description="While the text is read and written.")] = []


class PredictQuestion(_Question):
    """One input for a classifier, tagger or translator."""

    run: Annotated[str, Field(max_length=256)]
    text: Annotated[str, Field(description="One input, as a line of `unrolled predict`.")]
    options: Annotated[
        PredictOptions,
        Field(description="Those of the run's `predict_options`.", default_factory=dict),
    ]


class CaptionQuestion(_Question):
    """A picture or a recording for a captioner."""

    run: Annotated[str, Field(max_length=256)]
    data: Annotated[str, Field(description="The file in base64; see `limits.media_bytes`.")]
    options: Annotated[
        PredictOptions,
        Field(description="Those of the run's `predict_options`.", default_factory=dict),
    ]


class BacktestQuestion(_Question):
    """Forecasts beside what came."""

    run: Annotated[str, Field(max_length=256, description="A run with `backtests`.")]


class Candidate(BaseModel):
    """What may come next."""

    text: str
    probability: float


class ReadAnswer(BaseModel):
    """A text as it was read; lists have an entry for each token."""

    version: str
    pieces: Annotated[list[str], Field(description="Joined, they are the text.")]
    surprise: Annotated[list[float | None], Field(description="Bits; none of the first.")]
    expected: Annotated[
        list[Candidate] | None, Field(description="The likeliest after each token, if asked for.")
    ]
    position: int | None
    candidates: Annotated[list[Candidate], Field(description="After the token at `position`.")]
    values: Annotated[list[float] | None, Field(description="Of the signal asked for.")] = None
    unknown: Annotated[
        list[str], Field(description="Characters of the text that this run cannot read.")
    ] = []
    left_out: Annotated[int, Field(description="Characters beyond `limits.text_characters`.")] = 0


class HoldAnswer(BaseModel):
    """What is expected as it is, and while values are held."""

    version: str
    position: int
    free: Annotated[list[Candidate], Field(description="After the token at `position`, as it is.")]
    held: Annotated[list[Candidate], Field(description="The same while values are held.")]
    changed: Annotated[
        list[float] | None,
        Field(description="For each token, the most that a probability after it changes."),
    ]
    surprise: Annotated[
        list[float | None], Field(description="The mean, in bits: as it is, and held.")
    ]


class AttributionAnswer(BaseModel):
    """What a prediction is made of."""

    version: str
    position: int
    text: Annotated[str, Field(description="What is explained: what came, or the likeliest.")]
    probability: float
    first: Annotated[int, Field(description="The first token that `values` are of.")]
    values: Annotated[list[float], Field(description="Nats that each token adds to its logarithm.")]
    residual: Annotated[
        float | None, Field(description="Nats that integrated gradients leave over.")
    ]


class UnitAnswer(BaseModel):
    """Every number of one unit; lists have an entry for each token."""

    version: str
    x: Annotated[dict[str, list[float]], Field(description="W_x x_t + b_x of each gate.")]
    u: Annotated[dict[str, list[float]], Field(description="W_h h_{t-1} + b_h of each gate.")]
    values: Annotated[dict[str, list[float]], Field(description="Gates and states, as traced.")]
    before: Annotated[dict[str, list[float]], Field(description="States before each step.")]
    inner: Annotated[
        dict[str, list[float]],
        Field(description="What else is computed on the way, by the ids of the run's `step`."),
    ]


class PredictAnswer(BaseModel):
    """A prediction, as `unrolled predict --json` prints it."""

    version: str
    prediction: dict[str, Any]


class PastForecast(BaseModel):
    """A forecast from a place in what is known by now; lists have an entry for each step."""

    start: Annotated[int, Field(description="Its first step, a place in the times of the series.")]
    times: list[str]
    forecast: list[float | None]
    low: Annotated[list[float | None], Field(description="Empty of a model without intervals.")]
    high: Annotated[list[float | None], Field(description="The same.")]


class PastForecasts(BaseModel):
    """A target of a series, and its forecasts from places one after the other."""

    target: str
    series: Annotated[str, Field(description="Empty where there is one.")]
    times: list[str]
    truth: Annotated[list[float | None], Field(description="What came; None where it is missing.")]
    forecasts: list[PastForecast]


class BacktestAnswer(BaseModel):
    """Forecasts beside what came, from the first held-out steps on; none where none are read."""

    version: str
    targets: list[PastForecasts]
    ahead: Annotated[
        list[PastForecasts], Field(description="From the end of the data; a forecast of each.")
    ]


class MapAnswer(BaseModel):
    """A heat map, one byte a value: lowest + byte / 255 * (highest - lowest)."""

    version: str
    start: int
    steps: int
    units: int
    lowest: float
    highest: float
    data: Annotated[str, Field(description="Base64; the units of a step lie side by side.")]


class RankedUnit(BaseModel):
    """A unit that tells the inside of a pattern from the outside."""

    unit: int
    area: Annotated[float, Field(description="P(higher inside), under this very text.")]


class RankAnswer(BaseModel):
    """The best units for each pattern that occurs in the text."""

    version: str
    patterns: dict[str, list[RankedUnit]]


class Measured(BaseModel):
    """What the verdict is the mean over."""

    windows: int
    held_out: Annotated[bool, Field(description="Whether of the held-out part, or of the text.")]
    cut: Annotated[int | None, Field(description="The lag at which training cut its gradient.")]


class GradientAnswer(BaseModel):
    """How far the gradient of the loss at the end of a text reaches back."""

    version: str
    lags: list[int]
    reach: Annotated[
        dict[str, list[list[float | None]]],
        Field(
            description="For each state, for each of the run's `parts`: relative to lag 0, by lag."
        ),
    ]
    verdict: Annotated[
        dict[str, Any] | None,
        Field(description="Of the run, and how it is said, by language; the same for any text."),
    ]
    measured: Measured | None
    saturation: Annotated[
        list[dict[str, list[float]]],
        Field(description="For each of the run's `parts` and each gate: low, high."),
    ]
    time_constants: Annotated[
        list[list[float | None]],
        Field(description="For each of the run's `parts`: steps, of each unit."),
    ]


class SessionAnswer(BaseModel):
    """A new session."""

    session: Annotated[str, Field(description="To be sent as the header X-Session.")]
    seconds: Annotated[int, Field(description="Without a request, after which it is forgotten.")]


class WordsAnswer(BaseModel):
    """All that the page says, in a language."""

    language: Annotated[str, Field(description="Its code, BCP 47.")]
    languages: Annotated[dict[str, str], Field(description="All there are: own names by code.")]
    words: dict[str, Any]


class LectureAnswer(BaseModel):
    """The cells that the lecture draws and trains."""

    cells: Annotated[dict[str, dict[str, Any]], Field(description="Graph and equations, by name.")]


class RunsAnswer(BaseModel):
    """What there is to look at."""

    runs: list[dict[str, Any]]
    broken: Annotated[list[str], Field(description="Names of runs that cannot be read now.")]
    limits: dict[str, int]


class Problem(BaseModel):
    """What is wrong, for programs and for people."""

    code: Annotated[str, Field(description="The name of its words: `errors` in /api/words.")]
    message: Annotated[str, Field(description="In a language of the header Accept-Language.")]
    hint: Annotated[str, Field(description="What to do; may be empty.")]
    values: Annotated[dict[str, Any], Field(description="What stands in the words' places.")]


class Failure(BaseModel):
    """Why a request was refused."""

    error: Problem
