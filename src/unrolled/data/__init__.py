"""From a user's files to what a model reads. Knows nothing of models or training."""

from unrolled.data.batching import IGNORE
from unrolled.data.text import python_library_text, read_text
from unrolled.data.vocabulary import (
    BPEVocabulary,
    ByteVocabulary,
    CharVocabulary,
    Decoder,
    Vocabulary,
    load_vocabulary,
    save_vocabulary,
)

__all__ = [
    "IGNORE",
    "BPEVocabulary",
    "ByteVocabulary",
    "CharVocabulary",
    "Decoder",
    "Vocabulary",
    "load_vocabulary",
    "python_library_text",
    "read_text",
    "save_vocabulary",
]
