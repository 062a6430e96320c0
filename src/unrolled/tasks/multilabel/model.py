"""The model of label sets: at every step, a score for each label that it is in the next set.

Unrolled over three sets of four labels:

    next set     {b}        {a c}      {}
                  ^           ^         ^
    scores      linear      linear    linear        V scores each, one for each label by itself
                  ^           ^         ^
    state ----> [layer]---->[layer]-->[layer]----> state, for what follows
                  ^           ^         ^
    input      1 0 1 0     0 1 0 0   1 0 1 0        1 for each label that is in the set
                  ^           ^         ^
    set         {a c}        {b}      {a c}
"""

import torch
from torch import Tensor, nn

from unrolled.layers import check_sizes
from unrolled.networks.options import LayerOptions
from unrolled.networks.sequence_layers import make_layer

__all__ = ["LabelSetModel"]


class LabelSetModel(nn.Module):
    """Which labels are in the next set: sets as zeros and ones, a layer, dropout, linear scores.

        h_t, state_t = layer(x_t, state_{t-1})
        p(label v in the next set) = sigmoid(W h_t + b)_v, each label by itself

    Args:
        options: Of the layer.
        num_labels: V, how many labels there are, at least 1.

    Attributes:
        layer: The sequence layer, batch first.

    Source:
        N. Boulanger-Lewandowski, Y. Bengio, P. Vincent (2012), arXiv 1206.6392: the RNN without
        a restricted Boltzmann machine; S. Bai, J. Z. Kolter, V. Koltun (2018), arXiv 1803.01271.

    Example:
        >>> import torch
        >>> model = LabelSetModel(LayerOptions(hidden_size=3), num_labels=4)
        >>> model(torch.tensor([[[1.0, 0, 1, 0], [0, 1, 0, 0]]]), torch.tensor([2])).shape
        torch.Size([1, 2, 4])
    """

    def __init__(self, options: LayerOptions, *, num_labels: int) -> None:
        super().__init__()
        check_sizes("LabelSetModel", {"num_labels": num_labels})
        self.options = options
        self.layer = make_layer(options, num_labels)
        self.dropout = nn.Dropout(options.dropout)
        self.scores = nn.Linear(options.hidden_size, num_labels)

    def forward(self, sets: Tensor, lengths: Tensor) -> Tensor:
        """Score each label of the set that follows each step.

        Args:
            sets: (B, T, V), 1 for each label that is in a set, 0 for the others.
            lengths: (B,), the steps of each row, at most T.

        Returns:
            (B, T, V), log-odds. They mean nothing beyond a row's length.
        """
        h, _ = self.layer(self.features(sets), lengths=lengths)  # (B, T, H)
        scores: Tensor = self.scores(self.dropout(h))
        return scores

    def features(self, sets: Tensor) -> Tensor:
        """Return what the layer reads, (B, T, V)."""
        return sets.to(self.scores.weight.dtype)

    @torch.no_grad()
    def begin_with(self, shares: Tensor) -> None:
        """Begin with the frequencies of the labels, (V,) in (0, 1): what is said without input."""
        self.scores.bias.copy_(shares.logit())
