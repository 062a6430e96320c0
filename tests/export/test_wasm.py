"""WebAssembly that is written computes what the C does, and hands out what a page shows."""

import base64
import copy
import hashlib
import json
import platform
import re
import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn, sigmoid, tanh

import unrolled
from support.cells import of_bessel
from support.node import run_node
from unrolled.errors import OptionError, RunError
from unrolled.export import to_wasm
from unrolled.export.c import proof
from unrolled.export.c.model import chain_of
from unrolled.export.c.program import program_of
from unrolled.export.wasm import building, files, modules
from unrolled.export.wasm.page import web_file
from unrolled.kernels import KernelError, find_compiler
from unrolled.networks.decoder import Decoder, DecoderConfig
from unrolled.networks.options import LayerOptions
from unrolled.tasks.graphs import Chain, WordChain, Writing

FOLDER = Path(modules.__file__).with_name("prebuilt")
BASELINE = ("-std=c99", "-ffp-contract=off", "-O1", "-mno-avx")  # as modules: no multiply-adds
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
needs_zig = pytest.mark.skipif(find_spec("ziglang") is None, reason="needs ziglang")
needs_compiler = pytest.mark.skipif(
    find_compiler() is None or platform.machine() not in ("x86_64", "AMD64"),
    reason="needs a C compiler for x86-64, which can leave multiply-adds out",
)


@unrolled.cell(gates="f g", states="h c")
def own(x, u, h, c, *, slope=0.5):
    """A cell with a vector and a reduction, of which each name is a value that is kept."""
    f = sigmoid(x.f + u.f + slope * c)
    g = torch.softmax(x.g + u.g, -1)
    c = f * c + (1 - f) * g
    return dict(h=tanh(c) - 0.1 * h, c=c, f=f)


@unrolled.cell(gates="f g")
def with_logarithm(x, u, h):
    f = sigmoid(x.f + u.f)
    return dict(h=f * h + (1 - f) * torch.log1p(torch.exp(x.g)))


LAYERS = {
    "lstm": lambda: [unrolled.LSTM(3, 21), nn.Linear(21, 5)],
    "gru of 2": lambda: [unrolled.GRU(3, 8, num_layers=2)],
    "gru reset before": lambda: [unrolled.GRU(3, 17, reset="before")],
    "janet both ways": lambda: [unrolled.JANET(3, 8, num_layers=2, bidirectional=True)],
    "rnn relu without bias": lambda: [unrolled.RNN(3, 40, nonlinearity="relu", bias=False)],
    "rnn of tokens": lambda: [nn.Embedding(9, 3), unrolled.RNN(3, 8), nn.Tanh(), nn.Linear(8, 9)],
    "projected": lambda: [unrolled.LSTM(3, 12, proj_size=5)],
    "tcn": lambda: [unrolled.TCN(3, 9, num_layers=3, kernel_size=3), nn.ReLU()],
}
POOLED = {
    "mean": (False, "gru"),
    "max": (True, "lstm"),
    "attention": (True, "janet"),
    "last": (True, "rnn"),
}
RUN = """
import { readFileSync } from "node:fs";
const { Model } = await import(process.argv[1]);
const results = [];
for (const { model, x } of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  const fast = await Model.load(model);
  const slow = await Model.load({ ...model, module: btoa("no vectors here") });
  const said = fast.run(x), again = slow.run(x);
  let steps = null;
  if (model.steps) {
    fast.reset();
    steps = [];
    for (let t = 0; t < x.length; t += model.inputs) {
      const one = fast.step(x.slice(t, t + model.inputs));
      if (model.pooled) steps = [...one];
      else steps.push(...one);
    }
  }
  results.push({ simd: [fast.simd, slow.simd], said: [...said], slow: [...again], steps });
}
process.stdout.write(JSON.stringify(results));
"""


def pooled_chain(pooling: str) -> Chain:
    both, cell = POOLED[pooling]
    kinds = {"gru": unrolled.GRU, "lstm": unrolled.LSTM, "janet": unrolled.JANET}
    layer = kinds.get(cell, unrolled.RNN)(4, 6, bidirectional=both)
    size = 12 if both else 6
    attention = nn.Sequential(nn.Linear(size, 3), nn.Tanh(), nn.Linear(3, 1))
    return Chain(
        (nn.Embedding(9, 4), layer),
        9,
        pooling,
        attention if pooling == "attention" else None,
        (nn.Linear(size, 3),),
        nn.Embedding(9, 3),
    )


def weighing_chain(both: bool) -> Chain:
    layer = unrolled.GRU(3, 6, bidirectional=both)
    says = (nn.Linear(12 if both else 6, 4),)
    return Chain((layer,), None, "max", says=says, evenly=nn.Linear(5 * 3, 4))


@needs_node
@needs_compiler
@pytest.mark.parametrize("weights", ["f32", "int8"])
def test_a_module_gives_the_bits_of_the_c_with_vectors_and_without(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(proof, "_C99", BASELINE)
    torch.manual_seed(0)
    chains = {name: chain_of(make()) for name, make in LAYERS.items()}
    chains |= {name: pooled_chain(name) for name in POOLED}
    chains |= {f"places {way}": weighing_chain(way) for way in (False, True)}
    given, expected = [], []
    for chain in chains.values():
        program = program_of(chain, "model", weights)
        x = torch.randn(7, 3) if chain.num_tokens is None else torch.randint(9, (7,))
        with proof._compiled(program) as library:
            expected.append(library.run(x).reshape(-1))
        description = files.described(program)[0]
        given.append({"model": description, "x": x.reshape(-1).tolist()})
    (tmp_path / "given.json").write_text(json.dumps(given))
    (tmp_path / "unrolled.mjs").write_text(web_file("unrolled.js"))
    results = run_node(RUN, str(tmp_path / "unrolled.mjs"), str(tmp_path / "given.json"))
    for name, wanted, result in zip(chains, expected, results, strict=True):
        assert result["simd"] == [True, False]
        assert torch.equal(torch.tensor(result["said"]), wanted), name
        assert result["slow"] == result["said"], name
        chain = chains[name]
        has_both = any(getattr(part, "bidirectional", False) for part in chain.modules)
        reads_whole = has_both or chain.evenly is not None
        assert result["steps"] == (None if reads_whole else result["said"]), name


TRACE = """
import { readFileSync } from "node:fs";
const { Model } = await import(process.argv[1]);
const results = [];
for (const { model, x } of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  const one = await Model.load(model);
  one.run(x, true);
  results.push({ traced: [...one.traced], records: model.records });
}
process.stdout.write(JSON.stringify(results));
"""


def traced_by_node(layers: list[nn.Module], x: torch.Tensor, folder: Path) -> list[list[dict]]:
    """What a module hands out of each layer and direction, by name, (T, H)."""
    given = []
    for layer in layers:
        program = program_of(chain_of(layer), "model", "f32")
        given.append({"model": files.described(program)[0], "x": x.reshape(-1).tolist()})
    (folder / "given.json").write_text(json.dumps(given))
    (folder / "unrolled.mjs").write_text(web_file("unrolled.js"))
    results = run_node(TRACE, str(folder / "unrolled.mjs"), str(folder / "given.json"))
    found = []
    for result in results:
        rows = torch.tensor(result["traced"]).reshape(len(x), -1)
        found.append(
            [
                {n: rows[:, at : at + record["units"]] for n, at in record["at"].items()}
                for record in result["records"]
            ]
        )
    return found


def compare_traces(layers: list[nn.Module], folder: Path) -> None:
    x = torch.randn(6, 3)
    for layer, found in zip(layers, traced_by_node(layers, x, folder), strict=True):
        records = unrolled.trace(copy.deepcopy(layer).double(), x[:, None].double())
        assert len(found) == len(records)
        for got, record in zip(found, records, strict=True):
            assert set(got) == set(record.values)
            for name, values in record.values.items():
                torch.testing.assert_close(got[name], values[:, 0].float(), atol=2e-6, rtol=0)


@needs_node
def test_a_module_hands_out_every_named_value_of_each_layer_and_direction(tmp_path):
    torch.manual_seed(0)
    layers = [
        unrolled.LSTM(3, 5, num_layers=2, bidirectional=True),
        unrolled.GRU(3, 7),
        unrolled.GRU(3, 7, reset="before"),
        unrolled.JANET(3, 6),
        unrolled.RNN(3, 4, num_layers=2),
    ]
    compare_traces(layers, tmp_path)


@needs_node
@needs_zig
def test_a_cell_of_ones_own_is_compiled_and_hands_out_its_values(tmp_path):
    torch.manual_seed(0)
    layer = unrolled.Recurrent(own, 3, 9)
    written = to_wasm(layer, tmp_path / "page", check=True)
    assert not written.is_prebuilt
    assert written.proof.difference < 1e-6
    compare_traces([layer], tmp_path)


USE = """
import { readFileSync } from "node:fs";
const { Model } = await import(process.argv[1]);
const [model, ...others] = JSON.parse(readFileSync(process.argv[2], "utf8"));
const one = await Model.load(model), [two, numbers] = await Promise.all(others.map(Model.load));
const refused = (call) => {
  try { call(); return "nothing"; } catch (error) { return `${error.name}: ${error.message}`; }
};
const silent = refused(() => one.draw());
const first = one.step(3), state = one.state;
const second = one.step(5);
one.state = state;
const again = one.step(5);
one.reset();
const anew = one.step([3]);
one.run([1, 2, 3]);
const [best, scores] = [one.draw(0), [...one.step(2)]];
const top = scores.indexOf(Math.max(...scores));
const drawn = (seed) => {
  one.seed = seed;
  return Array.from({ length: 20 }, () => one.draw(5));
};
const results = {
  state: [`${second}` === `${again}`, `${first}` === `${anew}`, state.length],
  greedy: one.draw(0) === top,
  drawn: [`${drawn(7)}` === `${drawn(7)}`, new Set(drawn(7)).size > 3],
  kept: `${one.run([])}` === "" && one.draw(0) === top,
  refused: [
    () => one.step(9), () => one.step(-1), () => one.step(1.5), () => one.step(NaN),
    () => one.step([1, 2]), () => one.step([]), () => two.step(1), () => one.run([1, 9, 2]),
    () => (one.state = new Uint8Array(3)), () => one.run(new Uint8Array(6e7)),
    () => numbers.run(5), () => numbers.run([1, 2]),
    ...[NaN, -1, Infinity, "warm"].map((t) => () => one.draw(t)),
  ].map(refused),
};
results.refused.unshift(silent);
one.state = state;
results.after = [
  `${one.run({ length: 1, 0: 5 })}` === `${second}`,  // of as many steps as before what was refused
  one.draw(0) === [...second].indexOf(Math.max(...second)),
];
for (const change of [{ image: model.image.slice(0, -400) }, { module: "", scalar: "" }]) {
  const error = await Model.load({ ...model, ...change }).catch((each) => each);
  results.refused.push(`${error.name}: ${error.message}`.slice(0, 30));
}
process.stdout.write(JSON.stringify(results));
"""


@needs_node
def test_the_class_keeps_a_state_draws_and_refuses_what_is_no_step(tmp_path):
    torch.manual_seed(0)
    one = [nn.Embedding(9, 4), unrolled.LSTM(4, 6), nn.Linear(6, 9)]
    both = [nn.Embedding(9, 4), unrolled.GRU(4, 6, bidirectional=True)]
    models = (one, both, [unrolled.GRU(3, 4)])
    given = [files.described(program_of(chain_of(m), "model", "f32"))[0] for m in models]
    (tmp_path / "given.json").write_text(json.dumps(given))
    (tmp_path / "unrolled.mjs").write_text(web_file("unrolled.js"))
    result = run_node(USE, str(tmp_path / "unrolled.mjs"), str(tmp_path / "given.json"))
    assert result["state"][:2] == [True, True]
    assert result["greedy"]
    assert result["drawn"] == [True, True]
    assert result["kept"]
    assert result["after"] == [True, True]
    tokens = [f"RangeError: no token {each}" for each in ("9", "-1", "1.5", "NaN")]
    assert result["refused"] == [
        "Error: no scores",
        *tokens,
        "RangeError: not one step",
        "RangeError: not one step",
        "Error: no steps: call run",
        "RangeError: no token 9",
        "RangeError: another state",
        "RangeError: too many steps",
        "RangeError: a step is 3 numbers",
        "RangeError: a step is 3 numbers",
        *(f"RangeError: temperature {each}" for each in ("NaN", "-1", "Infinity", "warm")),
        "Error: incomplete",
        "CompileError: WebAssembly.inst",
    ]


# ---- Files ---------------------------------------------------------------------------------------


def test_the_prebuilt_modules_are_what_their_source_makes():
    content = json.loads((FOLDER / "modules.json").read_text())
    text, description = modules.source_of_builtin()
    assert content["source"] == modules.digest(text), "make modules"
    assert {key: content[key] for key in description} == description
    for name, digest in content["files"].items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest, name
    assert {path.name for path in FOLDER.iterdir()} == {*content["files"], "modules.json"}


@needs_zig
def test_a_prebuilt_module_is_what_ziglang_makes():
    content = json.loads((FOLDER / "modules.json").read_text())
    if content["ziglang"] != version("ziglang"):
        pytest.skip(f"made by ziglang {content['ziglang']}")
    text, _ = modules.source_of_builtin()
    assert building.build(text, simd=True) == (FOLDER / "cells.wasm").read_bytes()


def test_the_class_has_under_3_kb_and_a_model_is_found_whole_in_its_folder(tmp_path):
    written = to_wasm(unrolled.GRU(3, 4), tmp_path / "page")
    assert written.is_prebuilt
    assert written.proof is None
    assert len((tmp_path / "page" / "unrolled.js").read_bytes()) < 3000
    names = {"index.html", "model.d.ts", "model.js", "package.json", "tokens.js"}
    names |= {"unrolled.d.ts", "unrolled.js"}
    assert {path.name for path in written.folder.iterdir()} == names
    image = re.search(r'"image": "([^"]+)"', (tmp_path / "page" / "model.js").read_text())[1]
    assert len(base64.b64decode(image)) > written.num_bytes == 4 * (3 * 4 * (3 + 4 + 1) + 4)


def with_nan():
    layer = unrolled.GRU(3, 4)
    with torch.no_grad():
        layer.weight_hh_l0[2, 1] = torch.nan
    return layer


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (with_nan(), {}, r"GRU\.weight_hh_l0 has NaN"),
        (unrolled.GRU(3, 4), {"weights": "bf16"}, "must be f32 or int8 in a page, got 'bf16'"),
        (unrolled.Recurrent(of_bessel, 3, 4), {}, "operation aten.special_bessel_j0"),
        (nn.GRU(3, 4), {}, "there is no C for GRU"),
    ],
)
def test_what_no_page_can_run_is_said_and_nothing_is_written(model, options, message, tmp_path):
    with pytest.raises(OptionError, match=message):
        to_wasm(model, tmp_path / "page", **options)
    assert not (tmp_path / "page").exists()


@unrolled.cell(gates="a", inputs="dt")
def that_is_given(x, u, h, dt):
    return dict(h=tanh(x.a + u.a * dt))


def test_each_kind_of_model_that_no_page_runs_is_named_with_what_does():
    given = unrolled.Recurrent(that_is_given, 4, 4, bidirectional=True)
    kinds = {
        "a tagger that reads letters or affixes, or answers late": WordChain(
            (nn.Embedding(5, 3),), None, None, 9, torch.ones(3), 2, (nn.Tanh(),)
        ),
        "a layer that reads both ways, with inputs of a step": chain_of(given),
    }
    for what, parts in kinds.items():
        with pytest.raises(OptionError, match=f"a page does not run .*{what}") as at:
            files.described(program_of(parts, "model", "f32"))
        assert at.value.hint.startswith("export it with ")


def test_a_captioner_of_recordings_is_refused_as_a_page_does_not_decode_sound(
    tmp_path, monkeypatch
):
    decoder = Decoder(DecoderConfig(9, 4, LayerOptions(hidden_size=4))).eval()
    writing = Writing((unrolled.GRU(3, 4),), None, "ends", decoder)
    source = SimpleNamespace(parts=writing, content=lambda: {"task": "caption"}, typed=dict)
    monkeypatch.setattr(files, "exported", lambda *_, **__: source)
    with pytest.raises(OptionError, match="a captioner of recordings, whose sound") as at:
        to_wasm("run", tmp_path / "page")
    assert at.value.hint == "export it with c or onnx"


def test_a_model_too_large_for_a_page_says_from_where_on_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_BYTES", 1000)
    with pytest.raises(
        OptionError, match=r"has 38,400 bytes of weights as f32.* at most 1,000"
    ) as at:
        to_wasm(unrolled.LSTM(1, 48), tmp_path / "page")
    assert "int8 has about a quarter, or export with" in at.value.hint


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    with pytest.raises(RunError, match="exists"):
        to_wasm(unrolled.GRU(3, 4), tmp_path)


def test_without_a_compiler_only_cells_of_ones_own_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(building, "compiler_or_none", lambda **_: None)
    with pytest.raises(KernelError, match="no compiler for WebAssembly") as at:
        to_wasm(unrolled.Recurrent(own, 3, 4), tmp_path / "own")
    assert at.value.hint == 'pip install "unrolled[compiler]"'
    assert to_wasm(unrolled.LSTM(3, 4), tmp_path / "page").is_prebuilt


def test_without_node_a_check_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "has_node", lambda: False)
    assert to_wasm(unrolled.LSTM(3, 4), tmp_path / "page", check=True).proof is None


def test_a_node_that_ends_is_an_error_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "node").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "node").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(RunError, match="node ended while it ran the model") as at:
        to_wasm(unrolled.LSTM(3, 4), tmp_path / "page", check=True)
    assert at.value.hint == "node 16.4 and later can run it"
    assert not (tmp_path / "page").exists()


@needs_node
def test_a_module_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    described = files.described

    def wrong(program, content=None):
        description, *more = described(program, content)
        image = np.frombuffer(base64.b64decode(description["image"]), np.uint8).copy()
        image[:4] = 0
        return description | {"image": base64.b64encode(image.tobytes()).decode()}, *more

    monkeypatch.setattr(files, "described", wrong)
    with pytest.raises(RunError, match="not written: its scores differ"):
        to_wasm(unrolled.LSTM(3, 4), tmp_path / "page", check=True)
    assert not (tmp_path / "page").exists()
