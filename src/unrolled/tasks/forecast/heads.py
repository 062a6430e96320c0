"""What a forecaster says of each step: a number, quantiles, or a distribution; and its loss.

    mae, mse, huber      R = 1: the forecast
    quantile             one for each level, in rising order
    normal               mean m and deviation s:  s = softplus(r) + 1e-4
    student-t            m, s and degrees of freedom n = 2 + softplus(r)
    negative-binomial    mean m = softplus(r) and dispersion a = softplus(r): variance m + a m^2

A head turns R raw numbers into parameters, moves them from one scale to another, and measures them.

Source:
    Salinas et al. (2020), section 3.1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.tasks.forecast.distributions import CountHead, NormalHead, StudentHead
from unrolled.tasks.forecast.head import LEAST, Head, inverse_softplus

__all__ = ["make_head"]


class PointHead(Head):
    """A number.

    Args:
        kind: "mae", "mse" or "huber".
    """

    def __init__(self, kind: str) -> None:
        super().__init__(1)
        self.kind = kind

    def parameters(self, raw: Tensor) -> Tensor:
        """Return them as they are."""
        return raw

    def moved(self, parameters: Tensor, center: Tensor, width: Tensor) -> Tensor:
        """Return the number on the other scale."""
        return parameters * width[..., None] + center[..., None]

    def losses(self, parameters: Tensor, targets: Tensor) -> Tensor:
        """Return absolute, squared or Huber errors."""
        said = parameters[..., 0]
        if self.kind == "huber":
            return F.huber_loss(said, targets, reduction="none")
        loss = F.l1_loss if self.kind == "mae" else F.mse_loss
        return loss(said, targets, reduction="none")

    def point(self, parameters: Tensor) -> Tensor:
        """Return the number."""
        return parameters[..., 0]

    def start(self, residuals: Tensor) -> Tensor:
        """Return zeros."""
        return residuals.new_zeros(*residuals.shape[1:], 1)


class QuantileHead(Head):
    """Quantiles, learned by the pinball loss.

    Args:
        levels: In rising order, 0.5 among them.

    Source:
        Koenker and Bassett (1978).
    """

    def __init__(self, levels: Sequence[float]) -> None:
        super().__init__(len(levels))
        self.levels = torch.tensor(levels)
        self.middle = list(levels).index(0.5)

    def parameters(self, raw: Tensor) -> Tensor:
        """Return the median, and the others by positive steps from it."""
        lower = raw[..., : self.middle]
        upper = raw[..., self.middle + 1 :]
        median = raw[..., self.middle, None]
        down = F.softplus(lower).flip(-1).cumsum(-1).flip(-1)
        up = F.softplus(upper).cumsum(-1)
        return torch.cat([median - down, median, median + up], -1)

    def moved(self, parameters: Tensor, center: Tensor, width: Tensor) -> Tensor:
        """Return the quantiles on the other scale."""
        return parameters * width[..., None] + center[..., None]

    def widened(self, parameters: Tensor, spread: Tensor) -> Tensor:
        """Return the quantiles, their distances from the median multiplied."""
        median = parameters[..., self.middle, None]
        return median + spread * (parameters - median)

    def losses(self, parameters: Tensor, targets: Tensor) -> Tensor:
        """Return twice the mean pinball loss: of the median alone it is the absolute error."""
        errors = targets[..., None] - parameters
        levels = self.levels.to(errors)
        return 2 * torch.maximum(levels * errors, (levels - 1) * errors).mean(-1)

    def point(self, parameters: Tensor) -> Tensor:
        """Return the median."""
        return parameters[..., self.middle]

    def quantiles(self, parameters: Tensor, levels: Sequence[float]) -> Tensor:
        """Return quantiles: those of levels in between by a line, beyond the outermost those."""
        known = self.levels.tolist()
        result = []
        for level in levels:
            above = next((i for i, each in enumerate(known) if each >= level - 1e-9), len(known))
            if above in (0, len(known)) or abs(known[above] - level) < 1e-9:
                result.append(parameters[..., min(above, len(known) - 1)])
                continue
            share = (level - known[above - 1]) / (known[above] - known[above - 1])
            low, high = parameters[..., above - 1], parameters[..., above]
            result.append(low + share * (high - low))
        return torch.stack(result)

    def start(self, residuals: Tensor) -> Tensor:
        """Return the quantiles of the residuals."""
        levels = self.levels.to(residuals)
        quantiles = residuals.nanquantile(levels, 0).nan_to_num(0.0)
        steps = quantiles.diff(dim=0).clamp(min=LEAST)
        raw = torch.cat(
            [steps[: self.middle], quantiles[self.middle, None], steps[self.middle :]]
        ).movedim(0, -1)
        is_step = torch.arange(self.size, device=raw.device) != self.middle
        return torch.where(is_step, inverse_softplus(raw.clamp(min=LEAST)), raw)


def make_head(learns: str, levels: Sequence[float]) -> Head:
    """Return the head of a loss, of these levels if it has quantiles."""
    if learns == "quantile":
        return QuantileHead(levels)
    if learns == "normal":
        return NormalHead()
    if learns == "student-t":
        return StudentHead()
    return CountHead() if learns == "negative-binomial" else PointHead(learns)
