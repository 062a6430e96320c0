"""Small uploads that would cost much memory: each is refused, or read, within a little of it.

A process of its own takes them one after the other and tells how far its memory grew.
"""

import io
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

if not Path("/proc/self/clear_refs").exists():
    pytest.skip("the memory of a process is told by Linux alone", allow_module_level=True)
Image = pytest.importorskip("PIL.Image", reason="pictures need pillow")
soundfile = pytest.importorskip("soundfile", reason="recordings need soundfile")
from unrolled.serving.limits import Limits  # noqa: E402

MOST_MEGABYTES = 300  # beyond what the process had; 1,400 were taken before there was a limit
SERVER = """
import base64, json, sys
from pathlib import Path
from starlette.testclient import TestClient
from unrolled.serving.app import create_app
from unrolled.serving.guard import Access
from unrolled.serving.runs import Runs

def most_megabytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    most = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")  # from now on
    return most

app = create_app(Runs([Path(sys.argv[1])]), Access(None, True))
with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
    session = client.post("/api/session").json()["session"]
    headers = {"X-Session": session, "Content-Type": "application/json"}
    def ask(body):
        answer = client.post("/api/caption", content=body, headers=headers)
        return [answer.status_code, answer.text[:300], most_megabytes()]
    ask(b"{}")
    for line in sys.stdin:
        path = Path(json.loads(line))
        body = path.read_bytes()
        if path.suffix != ".json":
            data = base64.b64encode(body).decode()
            body = json.dumps({"run": "captions", "data": data}).encode()
        most_megabytes()
        before = most_megabytes()
        status, text, after = ask(body)
        print(json.dumps([path.name, status, text, after - before]), flush=True)
"""


def saved(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def icon(content):
    """Return an icon that says it is of 16 by 16 pixels, whatever it holds."""
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(content), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + content


def lying_jpeg2000(content):
    """Return a picture whose box says that it is of 8 by 8 pixels."""
    place = content.index(b"ihdr") + 4
    return content[:place] + struct.pack(">II", 8, 8) + content[place + 8 :]


def silence(num_frames, rate, channels, form):
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, channels, format=form) as sound:
        for _ in range(0, num_frames, 1 << 17):
            sound.write(np.zeros((1 << 17, channels), np.int16))
    return file.getvalue()


@pytest.fixture(scope="module")
def bombs(tmp_path_factory):
    """Files by name; of pictures also some that are just small enough, in each kind of pixel."""
    folder = tmp_path_factory.mktemp("bombs")
    huge, wide, large = (7900, 7900), (8000, 2100), (4000, 4000)
    png = saved(Image.new("P", huge), "PNG", transparency=0)
    files = {
        "huge.png": png,
        "huge.gif": saved(Image.new("P", huge), "GIF"),
        "huge.tif": saved(Image.new("1", huge), "TIFF", compression="group4"),
        "huge.webp": saved(Image.new("RGB", wide), "WEBP", quality=1, method=0),
        "huge.ico": icon(png),
        "bitmap.ico": icon(saved(Image.new("1", (7900, 15800)), "DIB")[:1000]),
        "huge.jp2": lying_jpeg2000(saved(Image.new("L", wide), "JPEG2000")),
        "transparent.png": saved(Image.new("P", large), "PNG", transparency=0),
        "deep.png": saved(Image.new("I;16", large), "PNG"),
        "alpha.webp": saved(Image.new("RGBA", large), "WEBP", quality=1, method=0),
        "progressive.jpg": saved(Image.new("RGB", large), "JPEG", progressive=True, subsampling=0),
        "long.flac": silence(20 * 655_350, 655_350, 8, "FLAC"),
        "wide.ogg": silence(2 * 8000, 8000, 255, "OGG"),
        "options.json": json.dumps(
            {"run": "captions", "data": "", "options": {f"{n:x}": [] for n in range(400_000)}}
        ).encode(),
        "fields.json": json.dumps({f"{n:x}": 0 for n in range(400_000)}).encode(),
        "items.json": b"[" + b"[]," * 1_500_000 + b"0]",
        "deep.json": b'{"run": ' + b"[" * 2_000_000,
        "digits.json": b'{"run": ' + b"9" * 5_000_000 + b"}",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in files}


def test_a_small_upload_costs_little_memory(bombs, task_runs):
    for name, path in bombs.items():  # none is refused for its own size
        most = Limits().media_bytes
        assert path.stat().st_size < (most if path.suffix == ".json" else 0.7 * most), name
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SERVER, str(task_runs["captions"])],
        input="".join(json.dumps(str(path)) + "\n" for path in bombs.values()),
        capture_output=True,
        text=True,
        timeout=120,
    )
    results = [json.loads(line) for line in told.stdout.splitlines()]
    assert len(results) == len(bombs), told.stderr
    for name, status, text, megabytes in results:
        print(f"{name:<16}{bombs[name].stat().st_size:>10,}{status:>5}{megabytes:>7.0f} MB  {text}")  # noqa: T201
    for name, status, _, megabytes in results:
        assert status in (200, 400, 413, 422), name
        assert megabytes < MOST_MEGABYTES, name
