"""Distributions that are said of a step, learned by their likelihood."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.tasks.forecast.head import LEAST, Head, inverse_softplus

__all__ = ["CountHead", "NormalHead", "StudentHead"]

_DRAWS = 400


class NormalHead(Head):
    """A normal distribution, learned by its likelihood."""

    def __init__(self) -> None:
        super().__init__(2)

    def widened(self, parameters: Tensor, spread: Tensor) -> Tensor:
        """Return them with the deviation multiplied."""
        mean, deviation = parameters.unbind(-1)
        return torch.stack([mean, deviation * spread], -1)

    def parameters(self, raw: Tensor) -> Tensor:
        """Return mean and deviation."""
        return torch.stack([raw[..., 0], F.softplus(raw[..., 1]) + LEAST], -1)

    def moved(self, parameters: Tensor, center: Tensor, width: Tensor) -> Tensor:
        """Return them on the other scale."""
        mean, deviation = parameters.unbind(-1)
        return torch.stack([mean * width + center, deviation * width], -1)

    def losses(self, parameters: Tensor, targets: Tensor) -> Tensor:
        """Return the negative log likelihood, in nats."""
        mean, deviation = parameters.unbind(-1)
        z = (targets - mean) / deviation
        losses: Tensor = 0.5 * z.square() + deviation.log() + 0.5 * math.log(2 * math.pi)
        return losses

    def point(self, parameters: Tensor) -> Tensor:
        """Return the mean."""
        return parameters[..., 0]

    def quantiles(self, parameters: Tensor, levels: Sequence[float]) -> Tensor:
        """Return quantiles."""
        mean, deviation = parameters.unbind(-1)
        z = torch.special.ndtri(parameters.new_tensor(levels))
        quantiles: Tensor = mean + deviation * z.view(-1, *[1] * mean.dim())
        return quantiles

    def draw(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Return values."""
        mean, deviation = parameters.unbind(-1)
        return mean + deviation * torch.randn(
            mean.shape, generator=generator, dtype=mean.dtype, device=mean.device
        )

    def start(self, residuals: Tensor) -> Tensor:
        """Return mean and deviation of the residuals."""
        mean = residuals.nanmean(0)
        deviation = (residuals - mean).square().nanmean(0).sqrt()
        raw = [mean, inverse_softplus(deviation.nan_to_num(1.0).clamp(min=1e-3))]
        return torch.stack(raw, -1).nan_to_num(0.0)


class StudentHead(Head):
    """A Student t distribution, learned by its likelihood: outliers move it less."""

    def __init__(self) -> None:
        super().__init__(3)

    def widened(self, parameters: Tensor, spread: Tensor) -> Tensor:
        """Return them with the scale multiplied."""
        location, scale, freedom = parameters.unbind(-1)
        return torch.stack([location, scale * spread, freedom], -1)

    def parameters(self, raw: Tensor) -> Tensor:
        """Return location, scale and degrees of freedom."""
        scale, freedom = F.softplus(raw[..., 1]) + LEAST, 2 + F.softplus(raw[..., 2])
        return torch.stack([raw[..., 0], scale, freedom], -1)

    def moved(self, parameters: Tensor, center: Tensor, width: Tensor) -> Tensor:
        """Return them on the other scale."""
        location, scale, freedom = parameters.unbind(-1)
        return torch.stack([location * width + center, scale * width, freedom], -1)

    def losses(self, parameters: Tensor, targets: Tensor) -> Tensor:
        """Return the negative log likelihood, in nats."""
        location, scale, freedom = parameters.unbind(-1)
        z = (targets - location) / scale
        half = (freedom + 1) / 2
        constant = torch.lgamma(freedom / 2) - torch.lgamma(half)
        constant = constant + 0.5 * (freedom * math.pi).log() + scale.log()
        return constant + half * torch.log1p(z.square() / freedom)

    def point(self, parameters: Tensor) -> Tensor:
        """Return the location: mean and median."""
        return parameters[..., 0]

    def quantiles(self, parameters: Tensor, levels: Sequence[float]) -> Tensor:
        """Return quantiles."""
        location, scale, freedom = parameters.unbind(-1)
        return torch.stack([location + scale * _student_quantile(freedom, p) for p in levels])

    def draw(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Return values."""
        location, scale, freedom = parameters.unbind(-1)
        normal = torch.randn(location.shape, generator=generator, dtype=location.dtype)
        chance = torch._standard_gamma(freedom / 2, generator=generator)  # chi squared, halved
        drawn: Tensor = location + scale * normal * (freedom / (2 * chance)).sqrt()
        return drawn

    def start(self, residuals: Tensor) -> Tensor:
        """Return what a normal distribution has, and 10 degrees of freedom."""
        raw = NormalHead().start(residuals * math.sqrt(8 / 10))  # its variance is s^2 n / (n - 2)
        raw[..., 0] /= math.sqrt(8 / 10)
        return torch.cat([raw, torch.full_like(raw[..., :1], 8.0)], -1)


class CountHead(Head):
    """A negative binomial distribution of counts, learned by its likelihood."""

    counts = True

    def __init__(self) -> None:
        super().__init__(2)

    def parameters(self, raw: Tensor) -> Tensor:
        """Return mean and dispersion."""
        return F.softplus(raw) + LEAST

    def moved(self, parameters: Tensor, center: Tensor, width: Tensor) -> Tensor:  # noqa: ARG002
        """Return them for a mean that is `width` times as high."""
        mean, dispersion = parameters.unbind(-1)
        return torch.stack([mean * width, dispersion], -1)

    def losses(self, parameters: Tensor, targets: Tensor) -> Tensor:
        """Return the negative log likelihood of counts, in nats."""
        mean, dispersion = parameters.unbind(-1)
        r = 1 / dispersion
        likelihood = torch.lgamma(targets + r) - torch.lgamma(r) - torch.lgamma(targets + 1)
        mixed = (dispersion * mean).log1p()
        return -(likelihood - r * mixed + targets * ((dispersion * mean).log() - mixed))

    def point(self, parameters: Tensor) -> Tensor:
        """Return the mean."""
        return parameters[..., 0]

    def quantiles(self, parameters: Tensor, levels: Sequence[float]) -> Tensor:
        """Return quantiles of 400 draws, the same each time."""
        generator = torch.Generator().manual_seed(0)
        many = parameters.expand(_DRAWS, *parameters.shape)
        drawn = self.draw(many, generator).sort(0).values
        places = [min(_DRAWS - 1, round(level * (_DRAWS - 1))) for level in levels]
        return drawn[places]

    def draw(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Return counts."""
        mean, dispersion = parameters.double().unbind(-1)
        r = 1 / dispersion
        rate = torch._standard_gamma(r, generator=generator) * dispersion * mean
        return torch.poisson(rate, generator=generator).to(parameters.dtype)

    def start(self, residuals: Tensor) -> Tensor:
        """Return a mean of 1, the mean of what is scaled, and a dispersion of 0.1."""
        raw = residuals.new_tensor([1.0, 0.1])
        return inverse_softplus(raw).expand(*residuals.shape[1:], 2)


def _student_quantile(freedom: Tensor, level: float) -> Tensor:
    """Return a quantile of Student's t, to about four digits: Hill (1970), algorithm 396."""
    if level == 0.5:
        return torch.zeros_like(freedom)
    n, tails = freedom.double(), 2 * min(level, 1 - level)
    a = 1 / (n - 0.5)
    b = 48 / a.square()
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * (a * np.pi / 2).sqrt() * n
    y = (d * tails) ** (2 / n)
    x = torch.special.ndtri(torch.tensor(0.5 * tails, dtype=torch.float64))
    squared = x * x
    near = torch.where(n < 5, c + 0.3 * (n - 4.5) * (x + 0.6), c)
    near = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + near
    inner = (
        ((((0.4 * squared + 6.3) * squared + 36) * squared + 94.5) / near - squared - 3) / b + 1
    ) * x
    inner = torch.expm1(a * inner.square())
    outer = 1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3)
    outer = ((outer + 0.5 / (n + 4)) * y - 1) * (n + 1) / (n + 2) + 1 / y
    size = (n * torch.where(y > 0.05 + a, inner, outer)).sqrt()
    return (size if level > 0.5 else -size).to(freedom.dtype)
