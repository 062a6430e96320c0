"""What answers of the API are made with: runs, visitors, threads, what is read of a text."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from unrolled.data import Source
from unrolled.kernels import caching_weights
from unrolled.serving import schema
from unrolled.serving.errors import ApiError
from unrolled.serving.limits import Limits
from unrolled.serving.reading import Reading, read
from unrolled.serving.runs import Runs, ServedRun
from unrolled.serving.sessions import Session, Sessions
from unrolled.serving.workers import Workers

__all__ = ["Readable", "Services"]

Asked = TypeVar("Asked", bound=schema.TextQuestion)
Answered = TypeVar("Answered")


@dataclass(frozen=True)
class Readable:
    """What is read of a text.

    Args:
        text: That is read.
        unknown: The different characters that the model cannot read, which are not in it.
        left_out: How many characters are not, because the text is too long.
    """

    text: str
    unknown: list[str]
    left_out: int


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
            raise ApiError("run", 404) from None

    async def run_when_read(self, name: str) -> ServedRun:
        """Return the run called `name`, read again by a thread if its folder has changed."""
        return await self.workers.quick(lambda: self.run(name))

    def check_length(self, text: str) -> None:
        """Raise `ApiError` if `text` is too long."""
        if len(text) > (most := self.limits.text_characters):
            raise ApiError("text_length", got=len(text), most=most)

    def reading(self, session: Session, run: ServedRun, text: str) -> Reading:
        """Return how `run` reads `text`, going on from what this visitor's text was before.

        Who describes pictures or recordings has read the last one that this visitor gave.
        """
        if run.task.medium is None:
            return self.read(session, run, Source.text(self.readable(run, text).text))
        last = self.sessions.recall(session, (run.name, run.version))
        if last is None:
            raise ApiError("medium", 409)
        return last

    def readable(self, run: ServedRun, text: str, *, from_end: bool = False) -> Readable:
        """Return what is read: of a free text what the run knows of a part within the limit.

        A line of words or numbers is something else when it is cut, and read as it is or refused.

        Args:
            run: Who reads it.
            text: As it was given.
            from_end: Whether what is too long is read from its end, not from its beginning.
        """
        if run.subject.form.kind != "text":
            self.check_length(text)
            return Readable(text, [], 0)
        most = self.limits.text_characters
        part = text[-most:] if from_end else text[:most]
        return Readable(*run.task.readable(part), left_out=len(text) - len(part))

    def read(self, session: Session, run: ServedRun, source: Source) -> Reading:
        """Return how `run` reads a source, and remember it."""
        key = (run.name, run.version)
        with session.lock, caching_weights(run.weight_cache):
            before = self.sessions.recall(session, key)
            reading = read(run.subject, source, before)
            if reading is not before:
                self.sessions.keep(session, key, reading)
        return reading

    def of_text(
        self,
        session: Session,
        question: Asked,
        answer: Callable[[ServedRun, Reading, Asked], Answered],
    ) -> Answered:
        """Answer a question on a text from how its run reads it."""
        run = self.run(question.run)
        return answer(run, self.reading(session, run, question.text), question)
