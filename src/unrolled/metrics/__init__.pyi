from .metric import Metric, check_declared, find_metric
from .text import TEXT_METRICS, text_metrics

__all__ = [
    "TEXT_METRICS",
    "Metric",
    "check_declared",
    "find_metric",
    "text_metrics",
]
