"""Which encoder stands between given data and the model: of text, of numbers, of media."""

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor

from unrolled.errors import RunError
from unrolled.tasks.classify.encoders import (
    BPEEncoder,
    CharEncoder,
    NumberEncoder,
    TextEncoder,
    WordEncoder,
)
from unrolled.tasks.classify.examples import Labelled
from unrolled.tasks.classify.media import MediumEncoder
from unrolled.tasks.classify.options import DataOptions
from unrolled.tasks.classify.series import SCALES

__all__ = ["Encoder", "encoder_from_dict", "fit_encoder"]

Encoder = TextEncoder | NumberEncoder | MediumEncoder

_KINDS: dict[str, type[TextEncoder] | type[NumberEncoder] | type[MediumEncoder]] = {
    "word": WordEncoder,
    "char": CharEncoder,
    "bpe": BPEEncoder,
    "number": NumberEncoder,
    "picture": MediumEncoder,
    "recording": MediumEncoder,
}
_FEW_TEXTS = 10_000  # of fewer, words that occur once tell more than that they are unknown


def encoder_from_dict(content: dict[str, Any]) -> Encoder:
    """Return the encoder that its `to_dict` described.

    Raises:
        RunError: It is of an unknown kind.
    """
    kind = content["kind"]
    if kind not in _KINDS:
        raise RunError(f"unknown kind of tokens {kind!r}", "was the run made by this version?")
    return _KINDS[kind].from_dict(content)


def fit_encoder(options: DataOptions, training: Sequence[Labelled]) -> Encoder:
    """Return the encoder of the contents of the training part."""
    if (medium := training[0].kind) is not None:
        return MediumEncoder.fit(medium, [cast(Tensor, example.content) for example in training])
    if options.of_numbers:
        contents = [cast(Any, example.content) for example in training]
        encoder = NumberEncoder.fit(training[0].names, contents)
        return encoder.scaled_by(options.scale or SCALES[0])
    texts = (str(example.content) for example in training)
    if options.tokens == "bpe":
        return BPEEncoder.fit(texts, lowercase=options.lowercase, size=options.bpe_size)
    kind = CharEncoder if options.tokens == "char" else WordEncoder
    min_count = options.min_count
    if min_count is None:
        min_count = 1 if kind is WordEncoder and len(training) < _FEW_TEXTS else 2
    return kind.fit(texts, lowercase=options.lowercase, min_count=min_count)
