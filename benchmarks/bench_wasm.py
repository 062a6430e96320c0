"""One step of an LSTM in Chromium: `to_wasm` against onnxruntime-web on one thread, in turns.

    python benchmarks/bench_wasm.py [--sizes 64 256 512] [--rounds 15] [--weights f32 int8]

onnxruntime-web is fetched by npm into a folder that is thrown away; it runs a graph of one node,
LSTM, whose states go in again as they came out. Both read 1 input, both are held against the layer
first. A round is 200 steps of each, in turns, in one page; said are the median of a step, the
quarters of it, and the ratio of the medians. Needs npm, Chromium, and the extras dev and export.
"""

import argparse
import functools
import http.server
import json
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from playwright.sync_api import sync_playwright

import unrolled
from unrolled.benchmark.machine import available_cores, load, processor
from unrolled.export import to_wasm

STEPS = 200
PAGE = """
<!doctype html>
<script type="module">
import * as ort from "./ort/ort.wasm.min.mjs";
import { Model } from "./unrolled.js";
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = new URL("./ort/", location).href;

async function ours(size, weights) {
  const model = await Model.load((await import(`./${weights}/${size}.js`)).default);
  return async (x) => {
    model.reset();
    let said;
    for (const each of x) said = model.step(each);
    return said;
  };
}

async function theirs(size) {
  const session = await ort.InferenceSession.create(`./lstm${size}.onnx`, {
    executionProviders: ["wasm"], graphOptimizationLevel: "all",
  });
  const shape = [1, 1, size];
  return async (x) => {
    let h = new ort.Tensor("float32", new Float32Array(size), shape);
    let c = new ort.Tensor("float32", new Float32Array(size), shape);
    for (const each of x) {
      const read = new ort.Tensor("float32", Float32Array.of(each), [1, 1, 1]);
      ({ h_after: h, c_after: c } = await session.run({ x: read, h, c }));
    }
    return h.data;
  };
}

window.measure = async (size, weights, x, rounds) => {
  const ways = { onnxruntime: await theirs(size) };
  for (const each of weights) ways[each] = await ours(size, each);
  const said = {};
  for (const [name, way] of Object.entries(ways)) {
    for (let warm = 0; warm < 5; warm++) said[name] = Array.from(await way(x));
  }
  const times = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, way] of Object.entries(ways)) {
      const begun = performance.now();
      await way(x);
      times[name].push(1000 * (performance.now() - begun) / x.length);
    }
  }
  return { said, times };
};
window.ready = true;
</script>
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 512])
    parser.add_argument("--weights", nargs="+", default=["f32", "int8"])
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        layers = {size: write(folder, size, chosen.weights) for size in chosen.sizes}
        version = fetch(folder)
        (folder / "index.html").write_text(PAGE)
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            cores = f"{available_cores()} cores, load {load():.1f}"
            print(f"{processor()}, {cores}, Chromium {browser.version}, onnxruntime-web {version}")
            print(
                "\nLSTM step, 1 input, microseconds: median (quarters), onnxruntime-web's by ours"
            )
            page = browser.new_page()
            page.goto(f"{serve(folder)}/index.html")
            page.wait_for_function("window.ready")
            for size, layer in layers.items():
                measure(page, size, layer, chosen)
            browser.close()


def measure(page: Any, size: int, layer: Any, chosen: argparse.Namespace) -> None:
    x = torch.linspace(-1, 1, STEPS)
    arguments = [size, chosen.weights, x.tolist(), chosen.rounds]
    result = page.evaluate("([size, weights, x, n]) => measure(size, weights, x, n)", arguments)
    with torch.no_grad():
        expected = layer(x[:, None, None])[0][-1, 0].numpy()
    theirs = np.median(result["times"]["onnxruntime"])
    for name, times in result["times"].items():
        difference = np.abs(np.array(result["said"][name]) - expected).max()
        assert difference < (0.05 if name == "int8" else 1e-5), (name, difference)
        low, middle, high = np.percentile(times, (25, 50, 75))
        ratio = "" if name == "onnxruntime" else f"{theirs / middle:6.1f} x"
        spread = f"({low:.2f} ... {high:.2f})"
        print(f"H {size:4} {name:12} {middle:8.2f} {spread:20} {ratio}  max |d| {difference:.1e}")


def write(folder: Path, size: int, formats: list[str]) -> Any:
    """Write a layer both ways; return it."""
    torch.manual_seed(0)
    layer = unrolled.LSTM(1, size)
    for weights in formats:
        to_wasm(layer, folder / "one", weights=weights)
        (folder / weights).mkdir(exist_ok=True)
        shutil.copy(folder / "one" / "unrolled.js", folder)
        shutil.copy(folder / "one" / "model.js", folder / weights / f"{size}.js")
        shutil.rmtree(folder / "one")
    order = [0, 3, 1, 2]  # i, f, g, o as ONNX has them: i, o, f, c

    def laid(weight: torch.Tensor) -> np.ndarray:
        gates = weight.detach().chunk(4)
        return torch.cat([gates[gate] for gate in order]).numpy()[None]

    biases = np.concatenate([laid(layer.bias_ih_l0), laid(layer.bias_hh_l0)], axis=1)
    arrays = {"W": laid(layer.weight_ih_l0), "R": laid(layer.weight_hh_l0), "B": biases}
    node = helper.make_node(
        "LSTM", ["x", "W", "R", "B", "", "h", "c"], ["y", "h_after", "c_after"], hidden_size=size
    )
    shapes = {"x": (1, 1, 1), "h": (1, 1, size), "c": (1, 1, size)}
    after = {"h_after": (1, 1, size), "c_after": (1, 1, size)}
    graph = helper.make_graph(
        [node],
        "lstm",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in after.items()],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(
        helper.make_model(graph, opset_imports=opset, ir_version=9), folder / f"lstm{size}.onnx"
    )
    return layer


def fetch(folder: Path) -> str:
    """Fetch onnxruntime-web; return its version."""
    package = folder / "package"
    package.mkdir()
    command = ["npm", "install", "--no-audit", "--no-fund", "--silent", "onnxruntime-web"]
    subprocess.run(command, cwd=package, check=True, stdout=subprocess.DEVNULL)
    installed = package / "node_modules" / "onnxruntime-web"
    shutil.copytree(installed / "dist", folder / "ort")
    version: str = json.loads((installed / "package.json").read_text())["version"]
    return version


def chromium() -> str:
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    assert found, "no Chromium here: apt-get install chromium"
    return found


def serve(folder: Path) -> str:
    """Serve a folder from another thread; return its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    Quiet.extensions_map[".mjs"] = "text/javascript"
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


if __name__ == "__main__":
    main()
