"""What tests share that have node run a script."""

import json
import subprocess
from typing import Any

__all__ = ["run_node"]


def run_node(script: str, *arguments: str) -> Any:
    """Return what a module says in JSON on the standard output, given `arguments`."""
    command = ["node", "--input-type=module", "-e", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
