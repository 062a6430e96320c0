// Runs a model for a check: a line of JSON in, what is said out, until the input ends.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const folder = process.argv[2];
const [{ Model }, { Writer }, { pictureOf }] = await Promise.all(
  ["unrolled", "writing", "pictures"].map((name) => import(pathToFileURL(`${folder}/${name}.mjs`))));
const model = await Model.load(JSON.parse(readFileSync(`${folder}/model.json`, "utf8")));
const { reads, side, writes } = model.model;
const writer = writes && new Writer(model);

function said({ read, words, most }) {
  const bytes = Uint8Array.from(Buffer.from(read, "base64"));
  let x = new globalThis[reads](bytes.buffer);
  if (side) x = pictureOf(model, x);
  if (!writer) {
    model.reset();
    return model.run(x);
  }
  writer.read(x);
  if (most === undefined) {
    return Float32Array.from(words.flatMap((word) => Array.from(writer.step(word))));
  }
  const [best] = [...writer.search({ most })].at(-1);
  return Int32Array.from(best.words);
}
for await (const line of createInterface({ input: process.stdin })) {
  const { buffer } = said(JSON.parse(line));
  process.stdout.write(`${Buffer.from(buffer).toString("base64")}\n`);
}
