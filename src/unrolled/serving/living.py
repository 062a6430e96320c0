"""A run as it lies within a report: what the page asks its server for elsewhere, as data.

Facts are recorded, as Python found them: equations, the reach of the gradient, what it means in
words. What depends on a text is computed in the browser (`static/living/`) from the weights, which
are here too: as float32, or as bytes with a scale for each row where the file would be too large.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unrolled.cells import CELLS
from unrolled.errors import UnrolledError
from unrolled.inspection import step_equations
from unrolled.inspection.page import in_script
from unrolled.inspection.report import Report
from unrolled.kernels import EquationsError
from unrolled.languages import fill, language_names, load_words
from unrolled.layers import RecurrentLayer
from unrolled.networks.embedding import TokenEmbedding
from unrolled.serving.bundle import one_file, packed
from unrolled.serving.compiled import compiled
from unrolled.serving.limits import Limits
from unrolled.serving.recorded import told_measured, told_reach, told_verdict
from unrolled.serving.runs import ServedRun
from unrolled.serving.steps import describe_step
from unrolled.tasks import Loaded
from unrolled.tasks.page_network import NotInPageError

__all__ = ["MOST_BYTES", "page_of"]

MOST_BYTES = 3_000_000  # of a file that is mailed
_CHARACTERS = 40_000  # of numbers that are typed: nobody's but the reader's machine reads them
_WORDS_OF_OTHERS = ("report", "comparison", "lecture")  # which nothing in the browser says
_WHOLE_NUMBERS = 127  # to either side of zero that a byte has
_LEAST = 2.0**-100  # of a row's greatest, below which it is zeros

Format = Literal["f32", "int8"]


def page_of(
    loaded: Loaded, report: Report, name: str, *, on_held_out: bool, example: str | None = None
) -> tuple[str, str]:
    """Return the page with a report and, where it can be, the model in it.

    Args:
        loaded: The run.
        report: What was written of it.
        name: Of the run.
        on_held_out: Whether the report is on the held-out part.
        example: A text to begin with; None takes the run's own.

    Returns:
        The file, and what is said of the model in it.
    """
    page, measured = report
    held_out = _quietly(loaded.held_out)
    run = ServedRun(name, 0, loaded.task, loaded.model, read_held_out=held_out)
    language = page.say.language
    description = dict(run.description)
    if example is not None:
        description |= {"example": example, "made_up": False}
    content: dict[str, Any] = {
        "language": language,
        "languages": language_names(),
        "words": {code: _page_words(code) for code in language_names()},
        "limits": {
            "text_characters": Limits.text_characters if run.subject.is_text else _CHARACTERS,
            "generate_tokens": Limits.generate_tokens,
        },
        "reach": {
            **(told_reach(measured.reach) if measured else {"lags": [], "reach": {}}),
            "verdict": told_verdict(measured.verdict) if measured else None,
            "measured": measured
            and told_measured(replace(measured, held_out=measured.held_out or on_held_out)),
        },
    }

    page_with = one_file(page.title, language, page.markup())

    def file(**more: Any) -> str:
        return page_with(content | more)

    try:
        described = description | {"views": _views(run), "inside": "int8", "backtests": False}
        room = MOST_BYTES - len(file(run=described).encode("utf-8", "replace"))
        model, weights = _packed(run, room)
    except NotInPageError as outside:
        described = description | {"views": ["report"], "outside": outside.told}
        return file(run=described), _said_of("outside", outside.why, outside.told)
    return file(run=described | {"inside": weights}, model=model), _said_of("inside", weights, {})


def _said_of(part: str, which: str, values: dict[str, Any]) -> str:
    return fill(load_words()[part][which], values)


def _quietly(read: Callable[[int], list[Any]]) -> Callable[[int], list[Any]]:
    """Return what reads held-out examples to begin with, none where they are gone."""

    def examples(num_steps: int) -> list[Any]:
        try:
            return read(num_steps)
        except (UnrolledError, OSError):
            return []

    return examples


def _views(run: ServedRun) -> list[str]:
    return [
        "report",
        "write" if run.description["writes"] else "read",
        "step",
        "unroll",
        "gradient",
    ]


def _page_words(code: str) -> dict[str, Any]:
    return {name: words for name, words in load_words(code).items() if name not in _WORDS_OF_OTHERS}


def _packed(run: ServedRun, room: int) -> tuple[dict[str, Any], Format]:
    """Return the model, its weights in the first format that fits.

    Raises:
        NotInPageError: None does, or the browser cannot compute the model.
    """
    formats: tuple[Format, ...] = ("f32", "int8")
    for weights in formats:
        store = _Store(weights)
        network = _network(run, store)
        model: dict[str, Any] = {"network": network, "weights": store.packed()}
        if run.description["writes"] and run.task.options.model.kind.cell in CELLS.values():
            model["compiled"] = compiled(run.task, run.model, weights, store.rows)
        if len(in_script(model)) <= room:
            return model, weights
    raise NotInPageError("large", weights=run.description["num_parameters"])


class _Store:
    """Weights one after the other.

    Args:
        format: Of matrices; vectors are float32.
    """

    def __init__(self, format: Format) -> None:
        self._format = format
        self._parts: list[bytes] = []
        self._length = 0
        self.rows: dict[bytes, int] = {}  # of matrices: where each is, in bytes, by its content

    def vector(self, values: Tensor) -> dict[str, Any]:
        """Keep a vector; return where it lies."""
        return self._kept(values.detach().float().flatten().contiguous().numpy().tobytes(), values)

    def matrix(self, values: Tensor) -> dict[str, Any]:
        """Keep a matrix; return where it lies, with the scales of its rows where it has such."""
        values = values.detach().float()
        if self._format == "f32":
            return self._rows(values, self.vector(values))
        most = values.abs().amax(1)
        some = most > _LEAST  # as plain C has it, so that both read the same bytes
        inverse = torch.where(some, _WHOLE_NUMBERS / most, 0.0)
        whole = (values * inverse[:, None]).round().nan_to_num().to(torch.int8)
        scales = self.vector(torch.where(some, most * (1.0 / _WHOLE_NUMBERS), 0.0 * most))
        place = self._kept(whole.contiguous().numpy().tobytes(), values)
        return {**self._rows(whole, place), "scales": scales}

    def linear(self, linear: nn.Linear) -> dict[str, Any]:
        """Keep a linear layer; return its weight and its bias."""
        return {"weight": self.matrix(linear.weight), "bias": self.vector(linear.bias)}

    def embedding(self, embedding: TokenEmbedding) -> dict[str, Any]:
        """Keep an embedding; return its table and its projection."""
        projection = embedding.projection
        matrix = None if projection is None else self.matrix(projection.weight)
        return {"table": self.matrix(embedding.table.weight), "projection": matrix}

    def stack(self, layer: RecurrentLayer) -> dict[str, Any]:
        """Keep recurrent layers; return them with the graph of a step of theirs."""
        cell, step = layer.cell, step_equations(layer.cell)
        return {
            "cell": {
                "states": list(cell.states),
                "feedforward": list(cell.feedforward),
                "recurrent": list(cell.recurrent),
                "over_units": step.graph.is_over_units,
            },
            "nodes": describe_step(step)["nodes"],
            "size": layer.hidden_size,
            "directions": 1 + layer.bidirectional,
            "layers": [self._layer(layer, suffix) for suffix in layer.suffixes],
        }

    def _layer(self, layer: RecurrentLayer, suffix: str) -> dict[str, Any]:
        weights = layer.weights_of(suffix)
        hh, bias_ih, bias_hh = weights.weight_hh, weights.bias_ih, weights.bias_hh
        return {
            "weight_ih": self.matrix(weights.weight_ih),
            "weight_hh": None if hh is None else self.matrix(hh),
            "bias_ih": None if bias_ih is None else self.vector(bias_ih),
            "bias_hh": None if bias_hh is None else self.vector(bias_hh),
            "vectors": {
                name: self.vector(vector)
                for name, vector in zip(layer.cell.parameters, weights.parameters, strict=True)
            },
        }

    def _rows(self, stored: Tensor, place: dict[str, Any]) -> dict[str, Any]:
        numbers = stored.contiguous().numpy()
        for number, row in enumerate(numbers):
            self.rows[row.tobytes()] = place["at"] + number * row.nbytes
        return place

    def packed(self) -> str:
        """Return all of it, compressed, as base64."""
        return packed(b"".join(self._parts))

    def _kept(self, content: bytes, values: Tensor) -> dict[str, Any]:
        at = self._length
        content += bytes(-len(content) % 4)
        self._parts.append(content)
        self._length += len(content)
        return {"at": at, "shape": list(values.shape)}


def _network(run: ServedRun, store: _Store) -> dict[str, Any]:
    """Return a model as the browser computes it, its weights in a store.

    Raises:
        NotInPageError: It is not one that the browser computes.
    """
    task, layer = run.task, run.subject.recurrent
    model: Any = run.model
    describe = task.page_network(model)
    if describe is None:
        raise NotInPageError("task", task=task.name)
    if layer is None or layer.proj_size or layer.cell.delayed or layer.cell.inputs:
        raise NotInPageError("layer", cell=run.description["cell"])
    try:
        stack = store.stack(layer)
    except EquationsError as error:
        raise NotInPageError("equations", message=error.message) from None
    network = {"task": task.name, "stack": stack, **describe(store)}
    if run.subject.is_text:  # and so says labels
        network |= {"vocabulary": task.to_dict(), "labels": run.subject.labels}
        network["scores"] = store.linear(model.scores)
    return network
