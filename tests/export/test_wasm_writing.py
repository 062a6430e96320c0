"""Models of pages that write words or see pictures have the bits of the C, and search as Python."""

import base64
import json
import platform
import shutil

import numpy as np
import pytest
import torch
from torch import nn

import unrolled
from support.node import run_node
from unrolled.data.pictures import read_picture
from unrolled.data.source import Source
from unrolled.export.c import proof
from unrolled.export.c.program import program_of
from unrolled.export.wasm import files
from unrolled.export.wasm.node import running_in_node
from unrolled.export.wasm.page import CHECKED, web_file
from unrolled.kernels import find_compiler
from unrolled.networks import BeamOptions
from unrolled.networks.decoder import Decoder, DecoderConfig
from unrolled.networks.options import LayerOptions
from unrolled.networks.picture_encoder import PictureEncoder, PictureEncoderConfig
from unrolled.networks.word_search import search_words
from unrolled.tasks.graphs import Chain, Writing

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
BASELINE = ("-std=c99", "-ffp-contract=off", "-O1", "-mno-avx")  # as modules: no multiply-adds
SCRIPTS = {name: web_file(name) for name in CHECKED}


def decoder_of(summary: int, attention: str, memory: int, **layer) -> Decoder:
    config = DecoderConfig(
        9,
        summary,
        LayerOptions(hidden_size=5, **layer),
        embedding_size=4,
        attention=attention,
        memory_size=memory if attention != "none" else None,
    )
    return Decoder(config).eval()


def pictures_of(size: int) -> PictureEncoder:
    encoder = PictureEncoder(PictureEncoderConfig(size, 3)).eval()
    with torch.no_grad():  # which is 0 and 1 at first
        for name, weight in encoder.named_parameters():
            if "norm" in name:
                weight.add_(0.3 * torch.randn(weight.shape))
    return encoder


def writings() -> dict[str, Writing]:
    table = nn.Embedding(7, 4)
    both = unrolled.GRU(4, 3, bidirectional=True)
    pictures = pictures_of(9)
    size = pictures.config.memory_size
    return {
        "additive": Writing((table, both), 7, "ends", decoder_of(6, "additive", 6, num_layers=2)),
        "dots": Writing(
            (table, unrolled.TCN(4, 4)), 7, "mean", decoder_of(4, "multiplicative", 4, cell="tcn")
        ),
        "alone": Writing((unrolled.LSTM(3, 4),), None, "ends", decoder_of(4, "none", 4)),
        "pictures": Writing((pictures,), None, "greatest", decoder_of(size, "additive", size)),
    }


def read_of(name: str) -> np.ndarray:
    if name == "pictures":
        return np.random.default_rng(0).integers(0, 256, (3, 9, 9), np.uint8)
    if name == "alone":
        return torch.randn(6, 3).numpy()
    return np.array([3, 0, 5, 6, 2], np.int32)


@pytest.mark.skipif(
    find_compiler() is None or platform.machine() not in ("x86_64", "AMD64"),
    reason="needs a C compiler for x86-64, which can leave multiply-adds out",
)
@pytest.mark.parametrize("weights", ["f32", "int8"])
def test_words_after_what_was_read_have_the_bits_of_the_c(weights, monkeypatch):
    monkeypatch.setattr(proof, "_C99", BASELINE)
    torch.manual_seed(0)
    for name, parts in writings().items():
        program = program_of(parts, "model", weights)
        read, words = read_of(name), [1, 5, 8, 3]
        with proof._compiled(program) as library:
            expected = library.scores_after(read, words)
            written = library.words_of(read, 6)
        with running_in_node(SCRIPTS, files.described(program)[0]) as node:
            assert torch.equal(node.scores_after(read, words), expected), name
            assert node.words_of(read, 6) == written, name
    pictures = pictures_of(7)  # 147 bytes of 16 places: 15 rows of 10 hold them
    layer = unrolled.LSTM(pictures.config.memory_size, 4, bidirectional=True)
    weighed = nn.Linear(3 * pictures.config.memory_size, 3)
    for pooling, evenly in (("last", None), ("max", weighed)):
        says = (nn.Linear(8, 3),)
        chain = Chain((layer,), None, pooling, says=says, pictures=pictures, evenly=evenly)
        program = program_of(chain, "model", weights)
        pixels = torch.randint(0, 256, (3, 7, 7), dtype=torch.uint8)
        with proof._compiled(program) as library:
            expected = library.run(pixels)
        with running_in_node(SCRIPTS, files.described(program)[0]) as node:
            assert torch.equal(node.run(pixels), expected), pooling


SEARCH = """
import { readFileSync } from "node:fs";
const [, script, writing, given] = process.argv;
const [{ Model }, { Writer }] = [await import(script), await import(writing)];
const { model, searches, x } = JSON.parse(readFileSync(given, "utf8"));
const writer = new Writer(await Model.load(model));
const refused = (call) => {
  try { call(); return "nothing"; } catch (error) { return `${error.name}: ${error.message}`; }
};
const wrong = [() => writer.step(1), () => writer.read([]), () => writer.read([7])];
const results = { refused: wrong.map(refused) };
writer.read(x);
results.refused.push(...[9, -1, 1.5].map((word) => refused(() => writer.step(word))));
results.found = searches.map((options) => {
  writer.read(x);
  return [...writer.search(options)].at(-1).map(({ words, score, logarithm, complete, looks }) =>
    ({ words, score, logarithm, complete, looks: looks.map((each) => [...each]) }));
});
process.stdout.write(JSON.stringify(results));
"""


def test_a_search_finds_what_pythons_does_and_looks_where_it_does(tmp_path):
    torch.manual_seed(1)
    parts = writings()["additive"]
    decoder = parts.decoder
    with torch.no_grad():
        decoder.scores.weight.mul_(4)
    source, searches = [3, 0, 5, 6, 2], [(1, 0.0, 5), (3, 0.6, 5), (8, 0.6, 12)]
    with torch.no_grad():
        embedding, layer = parts.modules
        memory = layer(embedding(torch.tensor([source])).transpose(0, 1))[0].transpose(0, 1)
        summary = torch.cat([memory[:, -1, :3], memory[:, 0, 3:]], 1)
    given = {
        "model": files.described(program_of(parts, "model", "f32"))[0],
        "searches": [{"beam": k, "alpha": alpha, "most": most} for k, alpha, most in searches],
        "x": source,
    }
    (tmp_path / "given.json").write_text(json.dumps(given))
    for name, script in SCRIPTS.items():
        (tmp_path / name).with_suffix(".mjs").write_text(script)
    paths = [str(tmp_path / name) for name in ("unrolled.mjs", "writing.mjs", "given.json")]
    result = run_node(SEARCH, *paths)
    for (beam, alpha, most), found in zip(searches, result["found"], strict=True):
        options = BeamOptions(beam=beam, n_best=beam, length_penalty=alpha, max_length=most)
        (expected,) = search_words(decoder, decoder.start(summary, memory), 1, options)
        assert [each["words"] for each in found][:beam] == [list(each.tokens) for each in expected]
        for one, other in zip(found, expected, strict=False):
            assert one["complete"] == other.complete
            assert one["score"] == pytest.approx(other.score, abs=1e-5)
            assert one["logarithm"] == pytest.approx(other.log_probability, abs=1e-5)
    best = result["found"][-1][0]
    words = torch.tensor([[1, *best["words"]]])[:, : len(best["looks"])]
    with torch.no_grad():
        weights = decoder(words, decoder.start(summary, memory))[2][0]
    torch.testing.assert_close(torch.tensor(best["looks"]), weights, atol=1e-6, rtol=0)
    assert result["refused"] == [
        "Error: nothing was read",
        "RangeError: there is nothing to read",
        "RangeError: no token 7",
        *(f"RangeError: no word {each}" for each in ("9", "-1", "1.5")),
    ]


SQUARES = """
import { readFileSync } from "node:fs";
const { squareOf } = await import(process.argv[1]);
const pictures = JSON.parse(readFileSync(process.argv[2], "utf8"));
process.stdout.write(JSON.stringify(pictures.map(({ data, side, ...size }) =>
  [...squareOf({ data: Uint8Array.from(Buffer.from(data, "base64")), ...size }, side)])));
"""


def test_a_picture_is_scaled_to_the_bytes_of_pillow(tmp_path):
    Image = pytest.importorskip("PIL.Image", reason="pictures need pillow")
    numbers = np.random.default_rng(0)
    given, expected = [], []
    for width, height, side, opaque in (
        (40, 20, 16, True),
        (37, 57, 32, True),
        (5, 3, 24, True),
        (24, 24, 24, False),
        (50, 31, 12, False),
        (1, 9, 6, False),
    ):
        rgba = numbers.integers(0, 256, (height, width, 4), np.uint8)
        rgba[:, :, 3] = 255 if opaque else rgba[:, :, 3]
        path = tmp_path / f"{width}.png"
        Image.fromarray(rgba).save(path)
        expected.append(read_picture(Source.file(path), side).pixels.reshape(-1).tolist())
        data = base64.b64encode(rgba.tobytes()).decode()
        given.append({"data": data, "width": width, "height": height, "side": side})
    (tmp_path / "pictures.mjs").write_text(web_file("pictures.js"))
    (tmp_path / "given.json").write_text(json.dumps(given))
    got = run_node(SQUARES, str(tmp_path / "pictures.mjs"), str(tmp_path / "given.json"))
    assert got == expected
