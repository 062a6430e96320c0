"""Whole models as streams: how a model's `forward` is followed, and what then reads in pieces."""

from unrolled.streaming.model_stream import ModelStream, Streamed, stream

__all__ = ["ModelStream", "Streamed", "stream"]
