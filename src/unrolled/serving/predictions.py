"""What a task says of one input that a visitor has given.

What a visitor gives never names a file of this machine: it is handed over as a text or as bytes.
"""

from typing import Any

from unrolled.data import Source
from unrolled.options import Options
from unrolled.serving.errors import ApiError
from unrolled.serving.runs import ServedRun

__all__ = ["predict_medium", "predict_text"]


def predict_text(run: ServedRun, text: str, options: Options) -> dict[str, Any]:
    """Return what `unrolled predict --json` would print of a file that holds `text`.

    Args:
        run: Of a task that reads text or numbers.
        text: One input.
        options: The task's `PredictOptions`.

    Raises:
        DataError: The task cannot read this.
        ApiError: The task reads pictures or recordings.
    """
    if run.task.medium is not None:
        raise ApiError("reads_media", run=run.name)
    return _first(run, Source.text(text), options)


def predict_medium(run: ServedRun, content: bytes, options: Options) -> dict[str, Any]:
    """Return the captions of a picture or a recording.

    Args:
        run: Of a captioner.
        content: The file.
        options: The task's `PredictOptions`.

    Raises:
        DataError: It is not a picture or a recording, or a damaged one.
        ApiError: The task reads something else.
    """
    if run.task.medium is None:
        raise ApiError("reads_no_media", run=run.name)
    return _first(run, Source.of_bytes(content), options)


def _first(run: ServedRun, source: Source, options: Options) -> dict[str, Any]:
    for prediction in run.task.predict(run.model, source, options):
        return prediction
    raise ApiError("nothing_given")
