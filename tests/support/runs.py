"""Runs that are changed by hand, as their owner may: without the checksums that would say so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def change_config(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Have `change` change what config.json says, which from then on has no checksums."""
    path = run / "config.json"
    config = json.loads(path.read_text())
    change(config)
    config.pop("sha256", None)
    path.write_text(json.dumps(config))


def without_checksums(run: Path) -> Path:
    """Have a run be read as it is; return its folder."""
    change_config(run, lambda config: None)
    return run
