"""Translation by one network that answers k tokens late: many to many, no words read back.

The plainest that can translate at all: what attention, and reading one's own words, are worth is
seen against it. The network is in delayed_model.py, the layout in data/delay.py.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from unrolled.data.batching import batches_by_length, pad
from unrolled.data.delay import append_blanks, delay_batch
from unrolled.data.words import BEGIN, END, UNKNOWN
from unrolled.errors import OptionError, field
from unrolled.networks import Hypothesis, SearchOptions, word_loss
from unrolled.networks.devices import moved
from unrolled.tasks.translate.delayed_model import DelayedModel
from unrolled.tasks.translate.way import Way
from unrolled.training import share_rows

__all__ = ["ByDelay"]

_BLANK = BEGIN  # which no source has
_ROWS_AT_ONCE = 64


class ByDelay(Way):
    """By one network that reads on while it writes.

    Args:
        network: Reads tokens, the blank among them.
        delay: k, tokens that are read before the first one is written.
    """

    def __init__(self, network: DelayedModel, delay: int) -> None:
        self.network = network
        self.delay = delay

    def loss(
        self, sources: Sequence[Tensor], targets: Sequence[Tensor], label_smoothing: float
    ) -> tuple[Tensor, int]:
        """Return the cross-entropy of the targets' tokens, each k steps after its place."""
        both = moved((pad(sources), pad(targets)), self.network)
        (source, source_lengths), (target, target_lengths) = both
        batch = delay_batch(
            source,
            target,
            self.delay,
            blank=_BLANK,
            input_lengths=source_lengths,
            target_lengths=target_lengths,
        )
        scores = self.network(batch.inputs, batch.lengths)
        return word_loss(scores, batch.targets, label_smoothing)

    @torch.inference_mode()
    def search(
        self, sources: Sequence[Tensor], chosen: SearchOptions, max_length: int
    ) -> list[list[Hypothesis]]:
        """Return the likeliest sentence for each source: no search, answers are independent."""
        for name, default in type(chosen)().to_dict().items():
            if getattr(chosen, name) != default:
                message = f"{field(name)} is for an encoder and a decoder"
                raise OptionError(f"{message}, this network answers with a delay", "leave it out")

        def answered(batch: list[int]) -> list[Hypothesis]:
            source, lengths = moved(pad([sources[index] for index in batch]), self.network)
            num_steps = max(int(lengths.max()), max_length + 1 + self.delay)
            scores = self.network(append_blanks(source, lengths, num_steps, _BLANK))
            scores[..., [UNKNOWN, BEGIN]] = -torch.inf
            answers = scores.cpu()[:, self.delay : self.delay + max_length + 1]
            log_probabilities, tokens = answers.log_softmax(-1).max(-1)
            return [_hypothesis(*row) for row in zip(tokens, log_probabilities, strict=True)]

        batches = batches_by_length([len(tokens) for tokens in sources], _ROWS_AT_ONCE)
        return [[hypothesis] for hypothesis in share_rows(answered, batches)]

    def attention(
        self,
        source: Tensor,  # noqa: ARG002
        hypotheses: Sequence[Hypothesis],  # noqa: ARG002
    ) -> None:
        """Return None: it looks nowhere."""
        return None


def _hypothesis(tokens: Tensor, log_probabilities: Tensor) -> Hypothesis:
    """Return the tokens up to the first end; without an end all but the last."""
    ids: list[int] = tokens.tolist()
    complete = END in ids
    length = ids.index(END) if complete else len(ids) - 1
    log_probability = log_probabilities[: length + complete].sum().item()
    return Hypothesis(tuple(ids[:length]), log_probability, log_probability, complete)
