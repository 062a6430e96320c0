r"""The decoder: writes words one after the other, from a summary of what they are about.

The network unrolled while it writes "il pleut":

    word        il      pleut     END
                ^         ^         ^
    scores    linear    linear    linear             V scores each
                ^         ^         ^
    further  [layers]->[layers]->[layers]            none with num_layers=1
                ^         ^         ^
    a        tanh W[c;h]  ...      ...   <--c------  attention over the memory, if there is one
                ^         ^         ^
    bridge -->[layer]-->[layer]-->[layer]--> state
    of the      ^         ^         ^
    summary  embedding embedding embedding           (tcn, conv, dense: and the summary)
                ^         ^         ^
    word      BEGIN       il      pleut

Attention looks with the state after the word is read and its context goes upwards only (Luong et
al. 2015, equation 5; Wu et al. 2016, section 3.2), not into the next step. So in training, where
the words are known, each layer reads all steps in one call, which is what the kernels are fast at.

Cells without a recurrent state (tcn, conv, dense) have nothing that a summary could start: their
states are past inputs. They are given the summary at every step instead.

Not here: what the summary and the memory are made of (the encoders), or the search for the best
words (beam.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.data.batching import IGNORE
from unrolled.errors import OptionError, ShapeError, require
from unrolled.layers import (
    RecurrentLayer,
    SequenceLayer,
    State,
    check_sizes,
    map_state,
    state_tensors,
)
from unrolled.networks.attention import ATTENTIONS, Memory
from unrolled.networks.devices import moved
from unrolled.networks.options import LayerOptions
from unrolled.networks.sequence_layers import make_layer

__all__ = ["Bridge", "Decoder", "DecoderConfig", "DecoderState", "word_loss"]


@dataclass(frozen=True)
class DecoderConfig:
    """What it takes to build a `Decoder`.

    Args:
        vocabulary_size: V, how many different words (tokens) there are.
        summary_size: D, features of the summary that it starts from.
        layer: Of the layers; attention is after the first.
        embedding_size: E, features that are learned for each word.
        attention: "additive", "multiplicative" or "none".
        memory_size: M, features of each place of the memory; None without attention.

    Raises:
        OptionError: A size below 1, an unknown name, a memory size without attention or the
            reverse.
    """

    vocabulary_size: int
    summary_size: int
    layer: LayerOptions
    embedding_size: int = 128
    attention: str = "none"
    memory_size: int | None = None

    def __post_init__(self) -> None:
        where = "DecoderConfig"
        names = ("vocabulary_size", "summary_size", "embedding_size", "memory_size")
        sizes = {name: getattr(self, name) for name in names}
        check_sizes(where, {name: size for name, size in sizes.items() if size is not None})
        expected = f"one of {', '.join(ATTENTIONS)}"
        require(self.attention in ATTENTIONS, "attention", expected, repr(self.attention))
        if (self.attention == "none") != (self.memory_size is None):
            raise OptionError(
                f"{where}: attention is {self.attention!r}, memory_size {self.memory_size}",
                "attention needs the size of what it attends to, 'none' has no memory",
            )


class DecoderState(NamedTuple):
    """All that the next step of a `Decoder` depends on, besides the word that it reads.

    layers: The states of the first layer, and of the further ones if there are any.
    summary: (B, D), for cells that read it at every step; else None.
    memory: What attention looks at; None without attention.
    """

    layers: tuple[State, ...]
    summary: Tensor | None
    memory: Memory | None

    def rows(self, index: Tensor) -> "DecoderState":
        """Return the state of the rows `index`, (N,), which may repeat: what a beam keeps."""
        summary = self.summary

        def of_layer(part: Tensor) -> Tensor:
            return part.index_select(1, moved(index, part))

        return DecoderState(
            tuple(map_state(of_layer, state) for state in self.layers),
            None if summary is None else summary.index_select(0, moved(index, summary)),
            None if self.memory is None else self.memory.rows(index),
        )


class Bridge(nn.Module):
    """From a summary to the state that a recurrent layer starts in: s_0 = tanh(W summary + b).

    Every tensor of the state has its own part of W, a cell's inner memory too.
    Source: Bahdanau, Cho and Bengio (2015), appendix A.2.2.

    Args:
        summary_size: D.
        layer: The layer to start.
    """

    def __init__(self, summary_size: int, layer: RecurrentLayer) -> None:
        super().__init__()
        self._like = layer.initial_state(0)
        parts = state_tensors(self._like)
        self._shapes = [(part.shape[0], part.shape[2]) for part in parts]
        width = sum(stacked * size for stacked, size in self._shapes)
        self.linear = nn.Linear(summary_size, width)

    def forward(self, summary: Tensor) -> State:
        """Return the state, (L, B, H) each, for a summary, (B, D)."""
        widths = [stacked * size for stacked, size in self._shapes]
        parts = iter(self.linear(summary).tanh().split(widths, dim=1))
        shapes = iter(self._shapes)
        return map_state(
            lambda _: next(parts).unflatten(1, next(shapes)).transpose(0, 1).contiguous(),
            self._like,
        )


class Decoder(nn.Module):
    """A conditional language model: embedding, a layer, attention, further layers, scores.

        h_t, state_t = layer(embedding(w_t), state_{t-1}),    state_0 = bridge(summary)
        c_t = attention(h_t, memory),  a_t = tanh(W_c [c_t; h_t])     or a_t = h_t without
        scores_t = W further(a_t) + b,    p(w_{t+1} = v) = softmax(scores_t)_v

    Args:
        config: The sizes, the layers and the attention.

    Example:
        >>> sizes = {"vocabulary_size": 9, "summary_size": 3, "memory_size": 5}
        >>> config = DecoderConfig(**sizes, layer=LayerOptions(), attention="additive")
        >>> decoder = Decoder(config)
        >>> state = decoder.start(torch.zeros(2, 3), torch.zeros(2, 4, 5), lengths=[4, 2])
        >>> scores, state, weights = decoder(torch.tensor([[0, 7, 8], [0, 3, 1]]), state)
        >>> scores.shape, weights.shape
        (torch.Size([2, 3, 9]), torch.Size([2, 3, 4]))
        >>> scores, state = decoder.step(torch.tensor([5, 2]), state)
        >>> scores.shape
        torch.Size([2, 9])
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        hidden_size, num_layers = config.layer.hidden_size, config.layer.settled().num_layers
        assert num_layers is not None
        self.embedding = nn.Embedding(config.vocabulary_size, config.embedding_size)
        self.bridge: Bridge | None = None
        self.further_bridge: Bridge | None = None
        layer = make_layer(config.layer, config.embedding_size, num_layers=1)
        if isinstance(layer, RecurrentLayer):
            self.bridge = Bridge(config.summary_size, layer)
        else:  # it reads the summary too
            input_size = config.embedding_size + config.summary_size
            layer = make_layer(config.layer, input_size, num_layers=1)
        self.layer = layer
        self.attention, self.combine = None, None
        if (attention := ATTENTIONS[config.attention]) is not None:
            assert config.memory_size is not None
            self.attention = attention(hidden_size, config.memory_size)
            self.combine = nn.Linear(config.memory_size + hidden_size, hidden_size, bias=False)
        self.further: nn.Module | None = None
        if num_layers > 1:
            further = make_layer(config.layer, hidden_size, num_layers=num_layers - 1)
            if isinstance(further, RecurrentLayer):
                self.further_bridge = Bridge(config.summary_size, further)
            self.further = further
        self.dropout = nn.Dropout(config.layer.dropout)
        self.scores = nn.Linear(hidden_size, config.vocabulary_size)

    def start(
        self,
        summary: Tensor,
        memory: Tensor | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> DecoderState:
        """Return the state before the first word.

        Args:
            summary: (B, D).
            memory: (B, S, M), for attention, without which it must be None.
            lengths: (B,), the places that each row of the memory has, 1..S; all of them if None.

        Raises:
            ShapeError: Another shape, a memory missing or too many, a row without memory.
        """
        size = self.config.summary_size
        if summary.dim() != 2 or summary.shape[1] != size:
            got = tuple(summary.shape)
            raise ShapeError(f"Decoder: summary must be (B, {size}), got {got}")
        if (memory is None) != (self.attention is None):
            what = "no memory" if memory is None else "a memory"
            message = f"Decoder: attention is {self.config.attention!r}, but there is {what}"
            raise ShapeError(message, "a decoder with attention needs a memory, one without none")
        layers = []
        for layer, bridge in ((self.layer, self.bridge), (self.further, self.further_bridge)):
            if bridge is not None:
                layers.append(bridge(summary))
            elif layer is not None:
                layers.append(cast("SequenceLayer", layer).initial_state(summary.shape[0]))
        read = None
        if self.attention is not None and memory is not None:
            if memory.shape[0] != summary.shape[0]:
                message = f"a summary of {len(summary)} rows and a memory of {len(memory)}"
                raise ShapeError(f"Decoder: {message}")
            read = self.attention.read(memory, lengths)
        return DecoderState(tuple(layers), None if self.bridge else summary, read)

    def forward(
        self, words: Tensor, state: DecoderState
    ) -> tuple[Tensor, DecoderState, Tensor | None]:
        """Score what comes next after each word.

        Args:
            words: (B, T) int64, ids in 0 ... V - 1, the mark of the beginning first.
            state: What `start` or an earlier call returned.

        Returns:
            The scores (unnormalised log probabilities), (B, T, V); the state after the last word;
            the weights of attention, (B, T, S), None without.

        Raises:
            ShapeError: Words that are not (B, T) int64.
        """
        h, first = self.layer(self.inputs(words, state), state.layers[0])  # (B, T, H)
        scores, further, weights = self.answers(h, state)
        return scores, state._replace(layers=(first, *further)), weights

    def inputs(self, words: Tensor, state: DecoderState) -> Tensor:
        """Return what the first layer reads, (B, T, E), with the summary where it is asked for."""
        if words.dtype != torch.int64 or words.dim() != 2:
            got = f"{tuple(words.shape)} {words.dtype}"
            raise ShapeError(f"Decoder: words must be (B, T) torch.int64, got {got}")
        x: Tensor = self.dropout(self.embedding(words))
        if state.summary is None:
            return x
        summary = state.summary[:, None, :].expand(-1, words.shape[1], -1)
        return torch.cat([x, summary], dim=2)

    def answers(
        self, h: Tensor, state: DecoderState
    ) -> tuple[Tensor, tuple[State, ...], Tensor | None]:
        """Return what follows from the first layer's output, (B, T, H).

        Returns:
            The scores, (B, T, V); the states of the further layers, if there are any; the weights
            of attention, (B, T, S), None without.
        """
        weights: Tensor | None = None
        further: tuple[State, ...] = ()
        if self.attention is not None and self.combine is not None:
            context, weights = self.attention(h, state.memory)
            h = self.combine(torch.cat([context, h], dim=2)).tanh()
        if self.further is not None:
            h, after = self.further(self.dropout(h), state.layers[1])
            further = (after,)
        return self.scores(self.dropout(h)), further, weights

    def step(self, words: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Read one word of each row, (B,); return the scores of the next, (B, V), and the state."""
        scores, state, _ = self.forward(words[:, None], state)
        return scores[:, 0], state


def word_loss(scores: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> tuple[Tensor, int]:
    """Return the sum of the cross-entropies in nats, and of how many words.

    With smoothing e, the target has a share 1 - e of the probability and all words an equal part of
    the rest. Source: Szegedy et al. (2016), section 7.

    Args:
        scores: (B, T, V).
        targets: (B, T) int64, the next word at each step; `IGNORE` where there is none.
        label_smoothing: e, in [0, 1).
    """
    loss = F.cross_entropy(
        scores.flatten(0, 1),
        targets.flatten(),
        ignore_index=IGNORE,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
    return loss, int((targets != IGNORE).sum())
