"""A terminal of a given width: what is on it after a program has written there."""

import os
import pty
import re
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from fcntl import ioctl
from pathlib import Path
from select import select

__all__ = ["run_in_terminal", "screen"]

_SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\].*?(?:\x07|\x1b\\\\)|\x1b[=>]")


def screen(written: str, columns: int) -> list[str]:
    """Return the lines of a terminal, those that have rolled by included.

    It knows what rich writes: moves of the cursor by lines, erased lines, carriage returns.
    """
    written = written.replace("\x03", "")  # an echo: terminals pass it over, within sequences too
    lines, row, column, place = [""], 0, 0, 0
    while place < len(written):
        sequence = _SEQUENCE.match(written, place)
        if sequence:
            place = sequence.end()
            number, kind = sequence[1] or "", sequence[2]
            if kind == "A":
                row = max(0, row - int(number or 1))
            elif kind == "K":
                lines[row] = "" if number == "2" else lines[row][:column]
            continue
        character = written[place]
        place += 1
        if character == "\r":
            column = 0
        elif character == "\n":
            row += 1
        elif character.isprintable():
            if column == columns:  # the terminal breaks a line where there is no more room
                row, column = row + 1, 0
            while len(lines) <= row:
                lines.append("")
            lines[row] = lines[row].ljust(column)
            lines[row] = lines[row][:column] + character + lines[row][column + 1 :]
            column += 1
        while len(lines) <= row:
            lines.append("")
    return [line.rstrip() for line in lines]


def run_in_terminal(
    command: Sequence[str],
    folder: Path,
    keys: Callable[[str], bytes | None] = lambda _: None,
    columns: int = 80,
    seconds: float = 300,
) -> tuple[int, str]:
    """Run a command in a terminal; return its exit code and all that it has written.

    Args:
        command: What is run.
        folder: Where.
        keys: Is told what was written so far, and returns what is typed now.
        columns: Of the terminal.
        seconds: After which it is killed.
    """
    outer, inner = pty.openpty()
    ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    unwanted = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    environment = {name: x for name, x in os.environ.items() if name not in unwanted}
    process = subprocess.Popen(
        command,
        stdin=inner,
        stdout=inner,
        stderr=inner,
        cwd=folder,
        env=environment | {"TERM": "xterm", "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(inner)
    written, end = b"", time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            if select([outer], [], [], 0.1)[0]:
                try:
                    part = os.read(outer, 65536)
                except OSError:  # nobody has the other side any more
                    break
                if not part:
                    break
                written += part
            if typed := keys(written.decode(errors="replace")):
                os.write(outer, typed)
        return process.wait(max(0.1, end - time.monotonic())), written.decode(errors="replace")
    finally:
        process.kill()
        process.wait()
        os.close(outer)
