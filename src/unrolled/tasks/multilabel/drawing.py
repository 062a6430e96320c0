"""New sequences of label sets: each label of the next set drawn by itself, then the set is read.

    scores_t, state = layer(set_t, state)
    label v in set_{t+1} with probability sigmoid(scores_t / temperature)_v

The random numbers are its own: neither the global generator nor a training in progress is touched.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from unrolled.errors import DivergedError, OptionError, field
from unrolled.networks.devices import moved
from unrolled.networks.modes import evaluating
from unrolled.networks.options import GenerateOptions
from unrolled.tasks.multilabel.model import LabelSetModel

__all__ = ["check_drawing", "draw_sets"]


def check_drawing(options: GenerateOptions) -> None:
    """Raise `OptionError` if an option says nothing of sets."""
    for name in ("top_p", "until"):
        if getattr(options, name) is not None:
            message = f"{field(name)} is for text, and this model writes sets of labels"
            raise OptionError(message, "leave it out")


def draw_sets(model: LabelSetModel, sets: Tensor, options: GenerateOptions) -> Iterator[Tensor]:
    """Yield the sets that a model goes on with, (V,) of bool each, as they are drawn.

    Args:
        model: Its train or eval mode is the caller's again between two sets.
        sets: (T, V) zeros and ones, at least one step: what it goes on from.
        options: The temperature reshapes each label's probability, 0 takes those above one half;
            of `top_k`, at most that many labels, the likeliest, are in a set.

    Raises:
        DivergedError: The model's scores are not finite numbers.
    """
    generator = torch.Generator()
    if options.seed is None:
        generator.seed()
    else:
        generator.manual_seed(options.seed)
    state = None
    read = moved(sets[None], model)
    for _ in range(options.length):
        with torch.inference_mode(), evaluating(model):
            h, state = model.layer(model.features(read), state)
            scores = model.scores(h[0, -1]).cpu().double()
        if not bool(scores.isfinite().all()):
            message = "the model's scores of the next set are not finite numbers"
            raise DivergedError(message, "its weights may have grown without bound in training")
        drawn = _drawn(scores, options, generator)
        yield drawn
        read = moved(drawn[None, None].to(read.dtype), model)


def _drawn(scores: Tensor, options: GenerateOptions, generator: torch.Generator) -> Tensor:
    numbers = torch.rand(len(scores), generator=generator, dtype=torch.float64)
    if options.temperature == 0:
        drawn = scores > 0
    else:
        drawn = numbers < (scores / options.temperature).sigmoid()
    if options.top_k is not None and options.top_k < len(scores):
        likeliest = torch.zeros_like(drawn)
        likeliest[scores.argsort(descending=True, stable=True)[: options.top_k]] = True
        drawn = drawn & likeliest
    return drawn
