"""The classifier: many steps in, one class out.

The network unrolled over "not a bad film", with mean pooling and one direction:

    class                                  scores                    C scores
                                             ^
                                           linear
                                             ^
                ┌─────────┬────────mean──────┴┬─────────┐            or max, attention, the last
                ^         ^                   ^         ^
    start --> [layer]-->[layer]------------>[layer]-->[layer]        and a second layer that reads
                ^         ^                   ^         ^            from the end, if bidirectional
              embed     embed               embed     embed          or I numbers as they are, the
                                                                       places of a picture's grid,
                                                                       or frames of a recording
                ^         ^                   ^         ^
    token      not        a                  bad       film

Asked at every step, on what was read so far, it gives its running opinion: "not" is negative, "not
a bad film" no longer. What is classified, and how text becomes tokens, is in task.py.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn

from unrolled.errors import OptionError, ShapeError
from unrolled.layers import check_lengths, check_sizes, valid_steps
from unrolled.networks.embedding import TokenEmbedding
from unrolled.networks.picture_encoder import PictureEncoder, PictureEncoderConfig
from unrolled.networks.sequence_layers import make_layer
from unrolled.networks.sound_encoder import side_by_side
from unrolled.tasks.classify.options import ModelOptions
from unrolled.tasks.classify.pressing import pressed

__all__ = ["Classifier"]

_PLACES = 16  # of a series, whose numbers are evidence
_PICTURE_DROPOUT = 0.2
_STEPS_AT_ONCE = 2**16  # of all prefixes in one batch
_EMBEDDING_SPREAD = 0.1  # torch's 1 drowns what few examples teach: 0.67 right instead of 0.78


class Classifier(nn.Module):
    """Scores of the classes of whole sequences: embedding, sequence layer, pooling, linear.

        x_t = a row of the embedding, or the numbers of the step
            | place t of the grid that the picture encoder makes, row by row
            | the log-mel frames k t ... k t + k - 1 side by side
        h_1 ... h_T = layer(x_1 ... x_T)
        p = h_T                     last (of the direction that reads from the end: h_1)
          | mean of h_t             mean
          | max of h_t              max, each feature by itself
          | sum of a_t h_t          attention, a = softmax over t of v' tanh(W h_t + b)
        scores = U p + d + sum over t of e_{x_t},    p(class = c) = softmax(scores)_c

    The last term is the evidence of single tokens, a row of scores for each, zero at first: what a
    linear classifier of words has, beside what only their order tells. That of other input is
    linear too, E [x at 16 places from its first step to its last]. A sequence without steps has
    p = 0. Initial values are those of torch, but the
    embedding has a standard deviation of 0.1.

    Args:
        options: What it is made of.
        num_classes: C; 1 where the score stands for a number.
        vocabulary_size: V, for an input of tokens; None for numbers.
        input_size: I, for an input of so many numbers a step; None for tokens. Other options of
            tokens than `evidence` are not used then.
        picture_size: S, pixels of each side, for pictures.
        num_bands: K, features of each log-mel frame, for recordings.
        vectors_width: Numbers of each vector that the embedding begins with; None without.

    Raises:
        OptionError: A size that is too small, or not exactly one kind of input.

    Attributes:
        layer: The sequence layer, batch first.

    Source:
        Attention: Yang et al. (2016), equations 5-7. Evidence: Cheng et al. (2016), wide part.

    Example:
        >>> model = Classifier(ModelOptions(), num_classes=3, vocabulary_size=10)
        >>> model(torch.tensor([[4, 2], [7, 0]]), lengths=torch.tensor([2, 1])).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        options: ModelOptions,
        *,
        num_classes: int,
        vocabulary_size: int | None = None,
        input_size: int | None = None,
        vectors_width: int | None = None,
        picture_size: int | None = None,
        num_bands: int | None = None,
    ) -> None:
        super().__init__()
        sizes = [vocabulary_size, input_size, picture_size, num_bands]
        if len(own_sizes := [size for size in sizes if size is not None]) != 1:
            message = "one of vocabulary_size, input_size, picture_size and num_bands must be given"
            raise OptionError(f"Classifier: {message}, got {', '.join(map(str, sizes))}")
        check_sizes("Classifier", {"size of the input": own_sizes[0], "num_classes": num_classes})
        self.options = options
        self.num_classes = num_classes
        self.input_size = input_size if num_bands is None else num_bands
        self.frames_per_step = 1 if num_bands is None else options.frames_per_step
        self.pictures = None
        if picture_size is not None:
            config = PictureEncoderConfig(picture_size, options.channels, _PICTURE_DROPOUT)
            self.pictures = PictureEncoder(config)
        self.embedding = None
        if vocabulary_size is not None:
            self.embedding = TokenEmbedding(options, vocabulary_size, vectors_width)
            nn.init.normal_(self.embedding.table.weight, std=_EMBEDDING_SPREAD)
        width = (self.input_size or 0) * self.frames_per_step
        if self.pictures is not None:
            width = self.pictures.config.memory_size
        elif self.embedding is not None:
            width = self.embedding.output_size
        self.layer = make_layer(options, width, bidirectional=options.bidirectional)
        size = cast(int, self.layer.output_size)
        self.evidence = None
        if vocabulary_size is not None and options.evidence:
            self.evidence = nn.Embedding(vocabulary_size, num_classes)
            nn.init.zeros_(self.evidence.weight)
        self.shape = None
        if vocabulary_size is None and options.evidence:
            self.shape = nn.Linear(_PLACES * width, num_classes, bias=False)
            nn.init.zeros_(self.shape.weight)
        self.attention = None
        if options.pooling == "attention":
            self.attention = nn.Sequential(
                nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1, bias=False)
            )
        self.dropout = nn.Dropout(options.dropout)
        self.scores = nn.Linear(size, num_classes)

    def forward(self, inputs: Tensor, lengths: Tensor | None) -> Tensor:
        """Score the classes of each sequence.

        Args:
            inputs: (B, T) int64 tokens in 0 ... V - 1; (B, T, I) numbers; (B, 3, S, S) uint8
                pictures; or (B, T, K) log-mel frames on a scale of about 1.
            lengths: (B,) int64, steps or frames of each row; what comes after them has no effect.
                None for pictures.

        Returns:
            The scores (unnormalised log probabilities), (B, C).

        Raises:
            ShapeError: Inputs of another shape or type, or lengths that do not fit.
        """
        self._check(inputs)
        if lengths is None or self.pictures is not None:
            x = self.features(inputs)
            steps = torch.full((x.shape[0],), x.shape[1], device=inputs.device)
        else:
            batch_size, num_steps = inputs.shape[:2]
            lengths = check_lengths("Classifier", lengths, num_steps, batch_size, inputs.device)
            k = self.frames_per_step
            if k > 1:  # the last step of a recording has what comes after its end
                inputs = inputs.masked_fill(~valid_steps(lengths, num_steps).T[..., None], 0.0)
            x = self.features(inputs)
            steps = (lengths + k - 1).div(k, rounding_mode="floor")
        scores = self._score(x, steps)
        if self.evidence is None:
            return scores
        valid = valid_steps(steps, x.shape[1]).T
        return scores + (self._weigh(inputs) * valid[..., None]).sum(1)

    def _score(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the scores of what the layer reads, (B, T, I), without the evidence of tokens."""
        scores: Tensor = self.scores(self.dropout(self._pool(self._states(x, lengths), lengths)))
        if self.shape is not None:
            scores = scores + self.shape(self.dropout(pressed(x, lengths, _PLACES).flatten(1)))
        return scores

    @torch.inference_mode()
    def opinions(self, inputs: Tensor) -> Tensor:
        """Return the scores after each step of one sequence: those of what was read so far.

        With one direction and tokens this takes one pass; otherwise one for each step, of all until
        there.

        Args:
            inputs: (T,) int64, (T, I), (3, S, S) uint8, or (T, K).

        Returns:
            (T, C), a row for each step that the layer reads; row t is what `forward` gives for the
            steps 0 ... t. Of a picture the encoder has seen all.
        """
        self._check(inputs[None])
        return self.opinions_of(self.features(inputs[None])[0], self.own_evidence(inputs))

    def own_evidence(self, inputs: Tensor) -> Tensor | None:
        """Return what each token of one sequence weighs by itself, (T, C); None if nothing."""
        return None if self.evidence is None else self._weigh(inputs)

    def opinions_of(self, x: Tensor, own: Tensor | None) -> Tensor:
        """Return what `opinions` does, (T, C), with a graph where one is kept.

        Args:
            x: What the layer reads, (T, I).
            own: As `own_evidence` gives it.
        """
        num_steps = len(x)
        if num_steps == 0:
            return self.scores.weight.new_zeros(0, self.num_classes)
        if not self.options.bidirectional and self.shape is None:
            lengths = torch.tensor([num_steps], device=x.device)
            pooled = self._pool_prefixes(self._states(x[None], lengths)[0])
            return _with_evidence(self.scores(self.dropout(pooled)), own)
        scores, start = [], 0
        while start < num_steps:
            stop = start + 1
            while stop < num_steps and (stop + 1 - start) * (stop + 1) <= _STEPS_AT_ONCE:
                stop += 1
            lengths = torch.arange(start + 1, stop + 1, device=x.device)
            scores.append(self._score(x[:stop].expand(stop - start, stop, -1), lengths))
            start = stop
        return _with_evidence(torch.cat(scores), own)

    def opinions_at_end(self, x: Tensor, own: Tensor | None) -> Tensor:
        """Return the last row of `opinions_of` for each of several sequences, (N, C).

        Args:
            x: What the layer reads, (N, T, I).
            own: As `own_evidence` gives it, (N, T, C).
        """
        lengths = torch.full((len(x),), x.shape[1], device=x.device)
        scores = self._score(x, lengths)
        return scores if own is None else scores + own.sum(1)

    def streamed(self) -> tuple[nn.Module, str]:
        """Return what gives the running opinion, (B, T, C), for `unrolled.stream`; what it reads.

        Raises:
            OptionError: What was read so far is not enough for an opinion.
        """
        if self.pictures is not None:
            message = "stream: a Classifier of pictures reads each as a whole"
            raise OptionError(message, "stream one that reads tokens, numbers or recordings")
        if self.shape is not None:
            message = "stream: the evidence of a Classifier is from the whole: 16 places of it"
            raise OptionError(message, "train without evidence to stream")
        reads = "B T" if self.embedding is not None else f"B T {self.input_size}"
        return RunningOpinion(self), reads

    def _check(self, inputs: Tensor) -> None:
        size = self.input_size
        if self.pictures is not None:
            return  # the encoder checks them
        if size is None:
            right = inputs.dtype == torch.int64 and inputs.dim() == 2
            expected = "tokens must be (B, T) torch.int64"
        else:
            right = inputs.is_floating_point() and inputs.dim() == 3 and inputs.shape[2] == size
            expected = f"numbers must be (B, T, {size})"
        if not right:
            got = f"{tuple(inputs.shape)} {inputs.dtype}"
            raise ShapeError(f"Classifier: {expected}, got {got}")

    def num_steps(self, length: int) -> int:
        """Return how many steps the layer has for an example of `length` tokens, rows or frames."""
        if self.pictures is not None:
            return len(self.pictures.place)
        return math.ceil(length / self.frames_per_step)

    def _states(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the outputs of the sequence layer, (B, T, H), zero after the end of a row."""
        if x.shape[1] == 0:  # which layers refuse
            return self.scores.weight.new_zeros(len(x), 0, self.scores.in_features)
        h: Tensor = self.layer(x, lengths=lengths)[0]
        return h

    def features(self, inputs: Tensor) -> Tensor:
        """Return what the layer reads: (B, T, I) numbers, (B, T, E) of tokens.

        Of pictures (B, P, M), the places of the grid; of recordings (B, S, k K), S = ceil(T / k).
        """
        if self.pictures is not None:
            memory: Tensor = self.pictures(inputs)[0]
            return memory
        if self.embedding is None:
            return side_by_side(inputs, self.frames_per_step)
        x: Tensor = self.dropout(self.embedding(inputs))
        if self.training and self.options.token_dropout:
            readable = x.new_full(inputs.shape, 1 - self.options.token_dropout).bernoulli()
            x = x * readable[..., None]
        return x

    def _weigh(self, tokens: Tensor) -> Tensor:
        """Return the evidence of each token, (..., C); in training, that of some is withheld."""
        assert self.evidence is not None
        evidence: Tensor = self.evidence(tokens)
        heard: Tensor = self.dropout(evidence.new_ones(tokens.shape))
        return evidence * heard[..., None]

    def _pool(self, h: Tensor, lengths: Tensor) -> Tensor:
        """Return what is classified, (B, H), zero for a row without steps."""
        batch_size, num_steps, size = h.shape
        if num_steps == 0:
            return h.new_zeros(batch_size, size)
        valid = valid_steps(lengths, num_steps).T[..., None]  # (B, T, 1)
        pooling = self.options.pooling
        if pooling == "mean":
            return h.sum(1) / lengths.clamp(min=1)[:, None]
        if pooling == "max":
            largest = h.masked_fill(~valid, -torch.inf).amax(1)
            return largest.masked_fill((lengths == 0)[:, None], 0)
        if pooling == "attention":
            weights = self._attend(h).masked_fill(~valid, -torch.inf).softmax(1)
            return (weights.nan_to_num(0) * h).sum(1)
        end = (lengths - 1).clamp(min=0)
        last = h[torch.arange(batch_size, device=h.device), end]
        if self.options.bidirectional:
            half = size // 2
            last = torch.cat([last[:, :half], h[:, 0, half:]], dim=1)
        return last

    def _pool_prefixes(self, h: Tensor) -> Tensor:
        """Return what `_pool` returns for each prefix of (T, H), with one direction: (T, H)."""
        pooling = self.options.pooling
        if pooling == "mean":
            return h.cumsum(0) / torch.arange(1, len(h) + 1, device=h.device)[:, None]
        if pooling == "max":
            return h.cummax(0).values
        if pooling == "attention":
            scores = self._attend(h).double()  # bounded, so that no early weight vanishes
            weights = (scores - scores.amax(0)).exp()
            return ((weights * h).cumsum(0) / weights.cumsum(0)).to(h.dtype)
        return h

    def _attend(self, h: Tensor) -> Tensor:
        assert self.attention is not None
        scores: Tensor = self.attention(h)
        return scores


class RunningOpinion(nn.Module):
    """The opinion of a classifier after each step, as a module that can be streamed."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.side_by_side = None
        if (k := classifier.frames_per_step) > 1:  # k frames as one step: a copy of each number
            weight, size = classifier.scores.weight, cast(int, classifier.input_size)
            meta = nn.Conv1d(size, k * size, k, k, bias=False, device="meta")  # nothing is drawn
            conv = meta.to_empty(device=weight.device).to(weight.dtype)
            with torch.no_grad():
                conv.weight.copy_(torch.eye(k * size).view(k * size, k, size).transpose(1, 2))
            self.side_by_side = conv.requires_grad_(False)
        self.train(classifier.training)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the scores of what was read so far, (B, T, C), of the input (B, T) or (B, T, I).

        Of a recording, of its whole steps of k frames.
        """
        classifier = self.classifier
        if self.side_by_side is not None:
            x = self.side_by_side(inputs.transpose(1, 2)).transpose(1, 2)
        else:
            x = classifier.features(inputs)
        h: Tensor = classifier.layer(x)[0]
        scores: Tensor = classifier.scores(classifier.dropout(self._pool(h)))
        if classifier.evidence is None:
            return scores
        weighed: Tensor = classifier.evidence(inputs)
        return scores + weighed.cumsum(1)

    def _pool(self, h: Tensor) -> Tensor:
        pooling = self.classifier.options.pooling
        if pooling == "mean":
            return h.cumsum(1) / torch.ones_like(h[..., :1]).cumsum(1)
        if pooling == "max":
            return h.cummax(1).values
        if pooling == "attention":
            weights = self.classifier._attend(h).double().exp()
            return ((weights * h).cumsum(1) / weights.cumsum(1)).to(h.dtype)
        return h


def _with_evidence(opinions: Tensor, own: Tensor | None) -> Tensor:
    """Return opinions, (T, C), with the evidence of the tokens until there."""
    return opinions if own is None else opinions + own.cumsum(0)
