"""The pictures of docs/serve.md and docs/lecture.md.

They are taken anew in every run of the tests, of small untrained runs, and thrown away. To renew
those in docs/, of trained ones:

    TOUR_RUNS=folder/of/runs TOUR_IMAGES=docs/images pytest tests/browser/test_tour.py
"""

import io
import os
from pathlib import Path

import pytest

Image = pytest.importorskip("PIL.Image", reason="pictures need pillow")

TEXT = (
    "MENENIUS:\nEither you must\nConfess yourselves wondrous malicious,\n"
    "Or be accused of folly.\n\nFirst Citizen:\nWe have ever your good word."
)
LARGEST = 150_000  # bytes
PICTURES = {
    "write": {"view": "write", "run": "lstm", "signal": "c"},
    "step": {
        "view": "step",
        "run": "lstm",
        "unit": 3,
        "position": 99,
        "keys": "ArrowDown ArrowDown ArrowDown ArrowDown ArrowDown",
    },
    "step-gru": {"view": "step", "run": "gru", "language": "pt-BR", "theme": "dark"},
    "unroll": {"view": "unroll", "run": "lstm"},
    "gradient": {"view": "gradient", "run": "lstm", "check": "#all-runs"},
    "compare": {"view": "compare", "run": "lstm", "second": "gru"},
    "lecture": {"scene": "gates"},
    "phone": {"view": "step", "run": "janet", "width": 390, "height": 844},
}


@pytest.fixture(scope="module")
def tour(start_server, small_runs):
    given = os.environ.get("TOUR_RUNS")
    names = ("lstm", "gru", "janet", "rnn")
    return start_server([Path(given) / name if given else small_runs[name] for name in names])


@pytest.fixture
def images(tmp_path) -> Path:
    folder = Path(os.environ.get("TOUR_IMAGES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def small_png(screenshot: bytes) -> bytes:
    """The picture in 255 colours: a fifth of the size."""
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB")
    file = io.BytesIO()
    picture.quantize(255, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_the_tour_is_taken(open_page, tour, images, small_text, name):
    given = dict(PICTURES[name])
    keys, check = given.pop("keys", "").split(), given.pop("check", None)
    scene = given.pop("scene", None)
    text = TEXT if "TOUR_RUNS" in os.environ else small_text
    page = open_page(at=tour, text=text, **{"height": 900} | given)
    page.locator("#view .card").first.wait_for()
    if scene:
        page.evaluate("name => { location.hash = `lecture/${name}` }", scene)
        page.locator(f'.scene[data-scene="{scene}"] .exercise').first.wait_for()
    page.wait_for_load_state("networkidle")
    if name == "write":
        page.locator("#pattern option:nth-child(2)").wait_for(state="attached")
        options = page.locator("#pattern option").all()
        speaker = [o for o in options if "speaker" in (o.get_attribute("value") or "")]
        page.select_option("#pattern", (speaker or options[1:])[0].get_attribute("value"))
    if check:
        page.check(check)
        page.locator(".said-verdict").nth(3).wait_for()
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_load_state("networkidle")
    content = small_png(page.screenshot(animations="disabled"))
    assert len(content) < LARGEST
    (images / f"{name}.png").write_bytes(content)
