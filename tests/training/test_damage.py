"""Damage to a run's files is told or harmless; `python tests/damage.py` tries more of it."""

import subprocess
import sys
from pathlib import Path

DAMAGE = Path(__file__).parents[1] / "damage.py"


def test_a_flipped_bit_or_a_cut_in_any_file_of_a_run_is_told_or_harmless():
    command = [sys.executable, str(DAMAGE), "--flips", "10", "--cuts", "10"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    assert len(rows) == 10
    for file, *numbers in rows:
        flips, flips_told, flips_harmless, cuts, cuts_told, cuts_harmless = map(int, numbers[:6])
        assert (flips, cuts) == (flips_told + flips_harmless, cuts_told + cuts_harmless) == (1, 1)
        if len(numbers) == 6:  # no reason why it would be harmless
            assert (flips_told, cuts_told) == (1, 1), file
