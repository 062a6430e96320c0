"""Linear-chain conditional random fields: whole sequences of labels are scored, not each label.

    score(y | x) = sum over t of s_t[y_t] + a[y_{t-1}, y_t]        y_{-1} is the begin, row V of a
    log p(y | x) = score(y | x) - log Z(x),    Z(x) = sum over all y of exp score(y | x)

The scores s (B, T, V) are a network's, the transitions a (V + 1, V) learned with it; where they are
all zero, labels do not hang together. What labels mean is the task's part.

Source:
    Lafferty, McCallum, Pereira (2001); the best path: Viterbi (1967); above a recurrent layer:
    Lample et al. (2016).
"""

import torch
from torch import Tensor

from unrolled.data.batching import IGNORE

__all__ = ["best_path", "log_likelihood", "log_marginals"]

_EXCLUDED = -1e4  # of a label that is known not to stand there: exp gives 0, and its gradient is 0


def log_likelihood(scores: Tensor, lengths: Tensor, transitions: Tensor, labels: Tensor) -> Tensor:
    """Return log p(labels) of each sequence in nats, (B,).

    Args:
        scores: (B, T, V).
        lengths: (B,), labels of each sequence, at least 1.
        transitions: (V + 1, V), finite; row V is the begin.
        labels: (B, T) int64 in 0 ... V - 1; where it is `IGNORE`, any label may stand, and the
            probability is that of the others.

    Example:
        >>> scores, labels = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]]), torch.tensor([[0, 1]])
        >>> together = log_likelihood(scores, torch.tensor([2]), torch.zeros(3, 2), labels)
        >>> each = scores.log_softmax(2)[0, [0, 1], [0, 1]]
        >>> torch.allclose(together, each.sum())
        True
    """
    numbers = torch.arange(scores.shape[2], device=scores.device)
    excluded = (labels[:, :, None] != numbers) & (labels != IGNORE)[:, :, None]
    both = torch.cat([scores, scores.masked_fill(excluded, _EXCLUDED)])
    log_z = _forward(both, lengths.repeat(2), transitions)[-1].logsumexp(1)
    every, right = log_z.chunk(2)
    return right - every


def log_marginals(scores: Tensor, lengths: Tensor, transitions: Tensor) -> Tensor:
    """Return log p(y_t = v) of each label by itself, (B, T, V); nothing beyond a length.

    Forward and backward algorithm, in the precision of `scores`.

    Args:
        scores: (B, T, V).
        lengths: (B,), labels of each sequence, at least 1.
        transitions: (V + 1, V), finite; row V is the begin.
    """
    before = torch.stack(_forward(scores, lengths, transitions), dim=1)
    step_to = transitions[:-1].T.to(scores.dtype)
    after = torch.zeros_like(scores)
    for step in range(scores.shape[1] - 2, -1, -1):
        following = after[:, step + 1] + scores[:, step + 1]
        going_on = (step + 1 < lengths)[:, None]
        after[:, step] = torch.where(going_on, _log_matmul(following, step_to), 0.0)
    return (before + after).log_softmax(2)


def best_path(scores: Tensor, lengths: Tensor, transitions: Tensor) -> Tensor:
    """Return the sequence of labels with the greatest sum of scores and transitions.

    Args:
        scores: (B, T, V).
        lengths: (B,), labels of each sequence, at least 1.
        transitions: (V + 1, V): what it adds that a label follows another, -inf where it may not;
            row V is the begin.

    Returns:
        (B, T) int64; what stands beyond a length means nothing.
    """
    batch_size, num_steps, num_labels = scores.shape
    shape, device = (batch_size, num_steps), scores.device
    best = scores[:, 0] + transitions[num_labels]  # (B, V)
    came_from = torch.zeros(*shape, num_labels, dtype=torch.int64, device=device)
    for step in range(1, num_steps):
        before, came_from[:, step] = (best[:, :, None] + transitions[:num_labels]).max(dim=1)
        going_on = (step < lengths)[:, None]
        best = torch.where(going_on, before + scores[:, step], best)
    path = torch.zeros(shape, dtype=torch.int64, device=device)
    label = best.argmax(dim=1)
    for step in range(num_steps - 1, -1, -1):
        path[:, step] = label
        earlier = came_from[:, step].gather(1, label[:, None])[:, 0]
        label = torch.where(step < lengths, earlier, label)
    return path


def _forward(scores: Tensor, lengths: Tensor, transitions: Tensor) -> list[Tensor]:
    """Return for each step log of the sum over all beginnings that end in each label, (B, V).

    Beyond a length stays what stood at the last step.
    """
    transitions = transitions.to(scores.dtype)
    total = scores[:, 0] + transitions[-1]
    totals = [total]
    for step in range(1, scores.shape[1]):
        following = _log_matmul(total, transitions[:-1]) + scores[:, step]
        total = torch.where((step < lengths)[:, None], following, total)
        totals.append(total)
    return totals


def _log_matmul(logarithms: Tensor, transitions: Tensor) -> Tensor:
    """Return log(exp(logarithms) @ exp(transitions)): (B, V) and (V, W) give (B, W).

    Each row is divided by its greatest number first, and each column of the transitions by its own:
    memory is that of the operands, where a sum over (B, V, W) would take V times as much.
    """
    largest = logarithms.detach().amax(1, keepdim=True)
    heights = transitions.detach().amax(0, keepdim=True)
    product = (logarithms - largest).exp() @ (transitions - heights).exp()
    least = torch.finfo(product.dtype).tiny
    return product.clamp_min(least).log() + largest + heights
