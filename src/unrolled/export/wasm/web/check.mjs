// Runs a model for a check: a line of numbers in base64 in, what is said out, until the input ends.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [script, description] = process.argv.slice(2);
const { Model } = await import(pathToFileURL(script));
const model = await Model.load(JSON.parse(readFileSync(description, "utf8")));
const { tokens, doubles } = model.model;
const Kind = tokens ? Int32Array : doubles ? Float64Array : Float32Array;
for await (const line of createInterface({ input: process.stdin })) {
  const bytes = Uint8Array.from(Buffer.from(line, "base64"));
  model.reset();
  const said = model.run(new Kind(bytes.buffer));
  process.stdout.write(`${Buffer.from(said.buffer).toString("base64")}\n`);
}
