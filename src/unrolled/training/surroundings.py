"""What the last bits of a run's sums depend on, beside its own files."""

from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["surroundings", "what_differs"]


def surroundings(device: torch.device) -> dict[str, Any]:
    """Return the device, the threads, the version of torch and the instructions that are in use."""
    return {
        "device": device.type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__.partition("+")[0],
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def what_differs(before: Mapping[str, Any], device: torch.device) -> str:
    """Say what has changed since `before` was noted; empty if nothing has."""
    before = {"device": "cpu", **before}  # older versions had no other
    now = surroundings(device)
    differing = [name for name in now if before.get(name) != now[name]]
    if not differing:
        return ""
    was, is_now = (
        ", ".join(f"{name} {values.get(name)}" for name in differing) for values in (before, now)
    )
    return f"trained so far with {was}, now with {is_now}"
