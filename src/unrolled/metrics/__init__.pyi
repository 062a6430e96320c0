from .metric import Metric, check_declared, find_metric
from .text import are_short, bleu_tokenizer, metrics_of_texts, text_metrics

__all__ = [
    "Metric",
    "are_short",
    "bleu_tokenizer",
    "check_declared",
    "find_metric",
    "metrics_of_texts",
    "text_metrics",
]
