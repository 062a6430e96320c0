"""Whole models as streams: how a model's `forward` is followed, and what then reads in pieces."""

from unrolled.streaming.model_stream import ModelStream, stream

__all__ = ["ModelStream", "stream"]
