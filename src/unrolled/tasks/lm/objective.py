"""What a language model is trained for: the next token of one long text.

Not here: the layout of the text (`columns.py`), and the walk through it (`tbptt.py`).
"""

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.errors import DataError, field
from unrolled.inspection import gradient_reach, verdict
from unrolled.networks.devices import moved
from unrolled.networks.modes import evaluating
from unrolled.tasks.lm.evaluation import TextSize, evaluate_language_model
from unrolled.tasks.lm.model import LanguageModel
from unrolled.tasks.lm.tbptt import TruncatedBPTT

__all__ = ["LanguageModelObjective"]

_REACH_ROWS = 8  # pieces of text that a gradient's reach is the mean over


class LanguageModelObjective:
    """The next token of a text, by truncated backpropagation through time.

    Args:
        windows: The walk through the training part.
        characters_per_token: Of the training part.
        held_out: The tokens of the held-out part, at least 2; None where there is none.
        held_out_size: Of the text that `held_out[1:]` stand for.
        reach_lag: How far back `evaluate` follows the gradient, in tokens; None: not at all.

    Raises:
        DataError: The held-out part is too short for the gradient to be followed.
    """

    def __init__(
        self,
        windows: TruncatedBPTT,
        characters_per_token: float,
        held_out: Tensor | None,
        held_out_size: TextSize,
        reach_lag: int | None = None,
    ) -> None:
        self.windows = windows
        self.characters_per_token = characters_per_token
        self.held_out = held_out
        self.held_out_size = held_out_size
        size = 0 if held_out is None else len(held_out)
        self.reach_lag = None if reach_lag is None else min(reach_lag, size - 2)
        if self.reach_lag is not None and self.reach_lag < 4:
            raise DataError(
                f"the held-out part is too short to follow a gradient: {size} tokens",
                f"hold out more of the text, or leave {field('log_reach')} out",
            )

    @property
    def updates_per_epoch(self) -> int:
        """Windows in one walk through the columns."""
        return self.windows.updates_per_epoch

    @property
    def num_held_out(self) -> int:
        """Tokens that are predicted of the held-out part."""
        return 0 if self.held_out is None else len(self.held_out) - 1

    def num_judged(self, metric: str) -> int:  # noqa: ARG002  # all figures count the same
        """Return the number of those tokens."""
        return self.num_held_out

    @property
    def counted(self) -> tuple[str, float]:
        """Speeds are counted in characters."""
        return "characters", self.characters_per_token

    def next_loss(self, model: nn.Module) -> tuple[Tensor, int]:
        """Return the sum of the losses of the next window, in nats, and of how many tokens."""
        return self.windows.next_window(model)

    def train_metrics(self, loss: float) -> dict[str, float]:
        """Return the loss in bits per character."""
        return {"bits_per_character": loss / math.log(2) / self.characters_per_token}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return the metrics on the held-out part; "loss" is in nats per token."""
        assert self.held_out is not None
        language_model = cast("LanguageModel", model)
        metrics = evaluate_language_model(language_model, self.held_out, self.held_out_size)
        figures = metrics.to_dict()
        for size in ("num_tokens", "num_characters", "num_words"):  # the same at every evaluation
            del figures[size]
        return figures | self._reach(language_model)

    def _reach(self, model: LanguageModel) -> dict[str, float]:
        """Return how far back the gradient reaches on a few pieces of the held-out part."""
        if self.reach_lag is None:
            return {}
        assert self.held_out is not None
        width = self.reach_lag + 2
        num_rows = min(_REACH_ROWS, len(self.held_out) // width)
        starts = torch.linspace(0, len(self.held_out) - width, num_rows).long().tolist()
        pieces = torch.stack([self.held_out[start : start + width] for start in starts])
        pieces = moved(pieces, model)

        def loss(output: Tensor) -> Tensor:
            return F.cross_entropy(model.scores(output), pieces[:, -1], reduction="sum")

        with evaluating(model):
            inputs = model.features(pieces[:, :-1]).detach()
            reach = gradient_reach(model.layer, inputs, loss=loss, max_lag=self.reach_lag)
        result = verdict(reach)
        half_life = math.inf if result.half_life_steps is None else result.half_life_steps
        return {
            "gradient_half_life_tokens": half_life,
            "gradient_horizon_tokens": float(result.horizon_steps),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the text and the carried state."""
        return self.windows.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to the place that `state_dict` described."""
        self.windows.load_state_dict(state)
