"""The file that a report is: the page's own modules in it, the model, or why that is not there."""

import base64
import gzip
import re

import numpy as np
import pytest
import torch

from support.living import content_of, file_of, loaded_run
from unrolled.serving import living
from unrolled.serving.bundle import modules, script_of
from unrolled.serving.compiled import compiled
from unrolled.serving.runs import ServedRun

MODULES = modules()
EXPORTED = re.compile(r"^export (?:async )?(?:const|class|function\*?) (\w+)", re.M)


@pytest.fixture(scope="module")
def lstm(small_runs):
    return loaded_run(small_runs["lstm"])


@pytest.fixture(scope="module")
def page(lstm):
    return file_of(lstm)[0]


def test_a_file_needs_no_other_host_and_can_be_mailed(page):
    assert not re.search(r"""(?:src|href)=["'](?!#s\d|#view|data:)""", page)
    links = re.findall(r'href="#(\w+)"', page)
    assert all(f'id="{link}"' in page for link in links)
    assert "lecture" not in content_of(page)["words"]["en"]
    addresses = {*re.findall(r"https?://[\w./]+", page)}
    assert addresses == {"http://www.w3.org/2000/svg", "http://localhost"}  # in a hint of an error
    assert "default-src 'none'" in page
    assert len(page.encode()) < living.MOST_BYTES
    assert page.count("</script>") == page.count("<script")


def test_what_answers_in_a_file_takes_the_questions_that_the_server_takes():
    assert {*EXPORTED.findall(MODULES["api.js"])} == {*EXPORTED.findall(MODULES["living/api.js"])}


def test_each_module_is_in_the_script_once_and_after_those_that_it_imports():
    script = script_of(MODULES, "main.js")
    made = [found[1] for found in re.finditer(r'^modules\["([^"]+)"\] = ', script, re.M)]
    assert len({*made}) == len(made)
    assert made[-1] == "main.js"
    assert "api.js" not in made
    known = set()
    for path, read in re.findall(
        r'^(?:modules\["(.+?)"\] = |const .* = modules\["(.+?)"\];)', script, re.M
    ):
        assert not read or read in known
        known |= {made[made.index(path) - 1]} if path and made.index(path) else set()


@pytest.mark.parametrize(
    "source",
    [
        'import x from "./b.js";',
        "export default 1;",
        "export let x = 1;",
        'export * from "./b.js";',
    ],
)
def test_a_module_that_is_not_understood_is_refused(source):
    with pytest.raises(ValueError, match=r"a\.js: not understood"):
        script_of({"a.js": f"{source}\n", "b.js": ""}, "a.js")


def test_modules_that_import_each_other_are_refused():
    circle = {"a.js": 'import * as b from "./b.js";\n', "b.js": 'import * as a from "./a.js";\n'}
    with pytest.raises(ValueError, match="imports itself"):
        script_of(circle, "a.js")


def test_the_weights_are_those_of_the_run(lstm, page):
    content = content_of(page)
    assert content["run"]["inside"] == "f32"
    packed = gzip.decompress(base64.b64decode(content["model"]["weights"]))
    place = content["model"]["network"]["stack"]["layers"][0]["weight_hh"]
    rows, columns = place["shape"]
    found = np.frombuffer(packed, "<f4", rows * columns, place["at"]).reshape(rows, columns)
    assert (found == lstm.model.layer.weight_hh_l0.detach().numpy()).all()


def test_weights_become_bytes_where_the_file_would_be_too_large(lstm, page, monkeypatch):
    weights = len(content_of(page)["model"]["weights"])
    monkeypatch.setattr(living, "MOST_BYTES", len(page.encode()) - weights // 2)
    smaller, said = file_of(lstm)
    assert content_of(smaller)["run"]["inside"] == "int8"
    assert len(smaller.encode()) <= living.MOST_BYTES
    assert "rounded to 8 bits" in said


@pytest.mark.parametrize("weights", ["f32", "int8"])
def test_the_weights_are_in_a_file_once(small_runs, weights):
    loaded = loaded_run(small_runs["deep"])
    run = ServedRun("deep", 0, loaded.task, loaded.model)
    store = living._Store(weights)
    living._network(run, store)
    module = compiled(loaded.task, loaded.model, weights, store.rows)
    matrices = [w for w in loaded.model.parameters() if w.dim() == 2]
    assert len(module["fills"]) == len(matrices) == 6
    image = np.frombuffer(gzip.decompress(base64.b64decode(module["image"])), "u1")
    for fill in module["fills"]:
        size = len(fill["rows"]) * fill["length"] * (4 if weights == "f32" else 1)
        assert not image[fill["at"] : fill["at"] + size].any()


@pytest.mark.parametrize(("run", "most", "why"), [("lstm", 9, "large"), ("tcn", 9**9, "layer")])
def test_a_file_without_its_model_says_why(small_runs, monkeypatch, run, most, why):
    monkeypatch.setattr(living, "MOST_BYTES", most)
    page, said = file_of(loaded_run(small_runs[run]))
    content = content_of(page)
    assert "model" not in content
    assert content["run"]["outside"]["why"] == why
    assert content["run"]["views"] == ["report"]
    assert "unrolled serve" in said
    assert "{" not in said
    assert "How far back does learning reach?" in page


def test_a_file_of_weights_that_are_no_numbers_is_made_all_the_same(small_runs, page, monkeypatch):
    loaded = loaded_run(small_runs["lstm"])
    weights = len(content_of(page)["model"]["weights"])
    with torch.no_grad():
        loaded.model.layer.weight_hh_l0[3] = torch.nan
    for most in (living.MOST_BYTES, len(page.encode()) - weights // 2):
        monkeypatch.setattr(living, "MOST_BYTES", most)
        broken, _ = file_of(loaded)
        assert content_of(broken)["run"]["inside"] in ("f32", "int8")


def test_a_file_is_in_its_language(lstm):
    page, _ = file_of(lstm, language="pt-BR")
    assert '<html lang="pt-BR">' in page
    assert content_of(page)["language"] == "pt-BR"
