"""What we want to reach: for a work and a peer, the least ratio of the peer's time to ours."""

from unrolled.benchmark.grid import Work

__all__ = ["LEAST_SHARE", "largest_memory", "largest_slowdown", "target"]

# Of the peak of fused multiply-adds: forward, at H >= 256.
LEAST_SHARE = 0.85
# Of LSTM training, by shape: ours when another process keeps one core busy, by ours alone; and
# our peak of memory by torch's.
_SLOWDOWN = {"B64 T128 H256": 2.0}
_MEMORY = {"B64 T1024 H512": 0.9}

_B64 = ("B64 T128 H128", "B64 T128 H256", "B64 T128 H512")
_SMALL = ("B8 T128 H128", "B1 T128 H64")
_ALL = (*_B64, *_SMALL)
_STEP = ("B1 T1 H64", "B1 T1 H256", "B1 T1 H512")
_FEW_STEPS = (
    *("B1 T8 H64", "B1 T32 H256", "B8 T1 H64", "B8 T1 H256", "B8 T16 H256", "B8 T32 H64"),
    *("B64 T1 H64", "B64 T1 H256", "B64 T8 H64"),
)


def _at(shapes: tuple[str, ...], *ratios: float) -> dict[str, float]:
    return dict(zip(shapes, ratios, strict=True))


# (section, mode, peer): {shape: ratio}
_RATIOS = {
    ("LSTM", "forward", "torch.nn"): _at(_B64, 1.0, 1.0, 1.0),
    ("LSTM", "forward", "ONNX Runtime"): _at(_B64, 1.0, 1.0, 1.0),
    ("LSTM", "training", "torch.nn"): _at((*_B64, "B1 T128 H64"), 1.35, 1.2, 1.05, 2.5),
    ("LSTM", "training", "torch.nn, tuned"): _at(_B64, 0.97, 0.97, 0.97),
    ("GRU", "training", "torch.nn"): _at(_ALL, 2.2, 1.5, 1.4, 4.0, 12.0),
    ("RNN", "training", "torch.nn"): _at(_ALL, 1.8, 1.5, 1.3, 3.0, 8.0),
    ("JANET", "training", "torch loop"): _at(_ALL, 3.0, 3.0, 3.0, 5.0, 20.0),
    ("A JANET of the user's own", "training", "torch loop"): _at(_ALL, 3.0, 3.0, 3.0, 5.0, 20.0),
    ("A JANET of the user's own", "training", "built-in"): _at(_ALL, 0.9, 0.9, 0.9, 0.9, 0.9),
    ("An LSTM of the user's own", "training", "built-in"): {"B64 T128 H256": 0.9},
    ("GRU reset before", "training", "torch loop"): {"B64 T128 H256": 3.0},
    ("Ragged lengths", "training", "packed"): {"B32 T25..100 H128": 3.5},
    ("Ragged lengths", "training", "padded"): {"B32 T25..100 H128": 1.2},
    ("LSTM, mixed precision", "training", "float32"): {"B64 T128 H256 bf16": 1.5},
    ("LSTM, mixed precision", "training", "torch.nn"): {"B64 T128 H256 bf16": 1.0},
    ("GRU, mixed precision", "training", "float32"): {"B64 T128 H256 bf16": 1.5},
    ("GRU, mixed precision", "training", "torch.nn"): {"B64 T128 H256 bf16": 1.3},
    ("LSTM, 2 layers", "training", "torch.nn"): {"B32 T400 I100 H128": 1.3},
    ("TCN, 8 layers", "training", "torch conv1d"): {"B64 T400 I2 H25": 1.0, "B1 T400 I2 H25": 2.0},
    ("TCN, 4 layers", "training", "torch conv1d"): {"B32 T128 I2 H128": 1.0},
    ("Short calls", "forward", "torch.nn"): (
        dict.fromkeys(_STEP, 2.0) | dict.fromkeys(_FEW_STEPS, 1.0)
    ),
    ("One step of a stream", "step", "f32 weights"): {"B1 H512 bf16": 1.6, "B1 H512 int8": 2.5},
    ("Short calls", "training", "torch.nn"): dict.fromkeys((*_STEP, *_FEW_STEPS), 1.0),
}


def target(work: Work, peer: str) -> float | None:
    """Return the least ratio of the peer's time to ours, or None where none is asked for."""
    return _RATIOS.get((work.section, work.mode, peer), {}).get(work.shape)


def largest_slowdown(work: Work) -> float | None:
    """Return how many times as long ours may take beside a busy process, or None."""
    return _SLOWDOWN.get(work.shape)


def largest_memory(work: Work) -> float | None:
    """Return the largest ratio of our peak memory to torch's, or None."""
    return _MEMORY.get(work.shape)
