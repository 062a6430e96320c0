from .batching import IGNORE, batches_by_length, pad, shuffled_batches
from .delay import Delayed, append_blanks, delay_batch
from .files import (
    fingerprint,
    open_plain,
    parse_json,
    read_json,
    read_plain,
    to_json,
    write_atomically,
)
from .long_text import LongText
from .options import PartOptions
from .sentences import SentenceVocabulary
from .source import Source
from .split import Parts, split
from .tables import TABLE_SUFFIXES, Table, read_table
from .text import python_library_text, read_text, split_lines
from .vocabulary import (
    BPEVocabulary,
    ByteVocabulary,
    CharVocabulary,
    Decoder,
    Vocabulary,
    WordTokenVocabulary,
    vocabulary_from_dict,
)
from .words import WordVocabulary, split_words

__all__ = [
    "IGNORE",
    "TABLE_SUFFIXES",
    "BPEVocabulary",
    "ByteVocabulary",
    "CharVocabulary",
    "Decoder",
    "Delayed",
    "LongText",
    "PartOptions",
    "Parts",
    "SentenceVocabulary",
    "Source",
    "Table",
    "Vocabulary",
    "WordTokenVocabulary",
    "WordVocabulary",
    "append_blanks",
    "batches_by_length",
    "delay_batch",
    "fingerprint",
    "open_plain",
    "pad",
    "parse_json",
    "python_library_text",
    "read_json",
    "read_plain",
    "read_table",
    "read_text",
    "shuffled_batches",
    "split",
    "split_lines",
    "split_words",
    "to_json",
    "vocabulary_from_dict",
    "write_atomically",
]
