"""Text becomes the same tokens in a page as in Python."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.node import run_node
from unrolled.data.sentences import SentenceVocabulary
from unrolled.data.vocabulary import (
    BPEVocabulary,
    ByteVocabulary,
    CharVocabulary,
    WordTokenVocabulary,
)
from unrolled.export.wasm.page import web_file
from unrolled.tasks.classify.encoders import BPEEncoder, CharEncoder, WordEncoder

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")

TEXTS = [
    "Don't: it's a well-made film (2005)!  Twice.\n\tAnd <unk>, end ",
    "",
    " \n ",
    "I'm 12 years, they've 3.5; we'll see -- l'homme d'État",
    "Não é só; coração cafe\u0301 ÀÇÃO İstanbul ΣΊΣΥΦΟΣ straße",
    "हिन्दी 我们在这里 ภาษาไทย にほん한국어",
    "🙂👩‍👩‍👧 🇧🇷! e\u0301\u0301 soft\u00adhyphen zero\u200bwidth\u200dj \x1c x\x85y\u2028z\r\nw",
    "snake_case 1st x²y ½ don\u2019t rock\u2019n\u2019roll -- a--b '' \"q\"",
]
RUN = """
import { readFileSync } from "node:fs";
const { encoderOf } = await import(process.argv[1]);
const { contents, texts } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const results = contents.map((content) => {
  const encoder = encoderOf(content);
  const decoder = new TextDecoder();
  return texts.map((text) => {
    const ids = encoder.encode(text);
    return [ids, decoder.decode(Uint8Array.from(ids.flatMap(encoder.bytes)))];
  });
});
process.stdout.write(JSON.stringify(results));
"""


@pytest.fixture(scope="module")
def encoders():
    everything = "".join(TEXTS)
    language = {
        "char": CharVocabulary.from_text(everything),
        "byte": ByteVocabulary(),
        "word": WordTokenVocabulary.from_text(everything * 2, size=300),
    }
    readers = {
        "words": WordEncoder.fit(TEXTS, lowercase=True, min_count=1),
        "characters": CharEncoder.fit(TEXTS, lowercase=False, min_count=2),
    }
    if find_spec("tokenizers"):
        language["bpe"] = BPEVocabulary.train(everything, 320)
        readers["pairs"] = BPEEncoder.fit(TEXTS, lowercase=True, size=300)
    return language, readers


def test_text_becomes_the_same_tokens_and_they_the_same_text(encoders, tmp_path: Path):
    language, readers = encoders
    contents = [{"writes_text": True, "vocabulary": each.to_dict()} for each in language.values()]
    contents += [{"vocabulary": {"encoder": each.to_dict()}} for each in readers.values()]
    (tmp_path / "tokens.mjs").write_text(web_file("tokens.js"))
    (tmp_path / "given.json").write_text(json.dumps({"contents": contents, "texts": TEXTS}))
    results = run_node(RUN, str(tmp_path / "tokens.mjs"), str(tmp_path / "given.json"))
    names = [*language, *readers]
    for name, each, result in zip(
        names, [*language.values(), *readers.values()], results, strict=True
    ):
        for text, (ids, back) in zip(TEXTS, result, strict=True):
            assert ids == each.encode(text).tolist(), (name, text)
            if name in language:
                assert back == text, (name, text)


SENTENCES = """
import { readFileSync } from "node:fs";
const { sentencesOf } = await import(process.argv[1]);
const { contents, texts } = JSON.parse(readFileSync(process.argv[2], "utf8"));
process.stdout.write(JSON.stringify(contents.map((content) => {
  const sentences = sentencesOf(content);
  return texts.map((text) => {
    const ids = sentences.encode(text);
    return [ids, sentences.text(ids), sentences.names(ids)];
  });
})));
"""


def test_a_sentence_becomes_the_same_tokens_and_they_the_same_sentence(tmp_path):
    kinds = ["word", "char", *(["bpe"] if find_spec("tokenizers") else [])]
    known = [*TEXTS[:5], *TEXTS[:5], TEXTS[5]]
    made = [SentenceVocabulary.from_sentences(kind, known, 300, 2) for kind in kinds]
    contents = [each.to_dict() for each in made]
    (tmp_path / "tokens.mjs").write_text(web_file("tokens.js"))
    (tmp_path / "given.json").write_text(json.dumps({"contents": contents, "texts": TEXTS}))
    results = run_node(SENTENCES, str(tmp_path / "tokens.mjs"), str(tmp_path / "given.json"))
    for kind, each, result in zip(kinds, made, results, strict=True):
        for text, (ids, back, names) in zip(TEXTS, result, strict=True):
            assert ids == each.encode(text).tolist(), (kind, text)
            assert back == each.decode(ids), (kind, text)
            if kind != "bpe":  # whose bytes alone are shown by other letters
                assert names == each.tokens_of(ids), (kind, text)
