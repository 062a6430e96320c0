// Runs a model for a check: a line of numbers in base64 in, what is said out, until the input ends.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [script, description] = process.argv.slice(2);
const { Model } = await import(pathToFileURL(script));
const model = await Model.load(JSON.parse(readFileSync(description, "utf8")));
const { tokens, steps } = model.model;
for await (const line of createInterface({ input: process.stdin })) {
  const bytes = Uint8Array.from(Buffer.from(line, "base64"));
  model.reset();
  const said = model.run(new (tokens ? Int32Array : Float32Array)(bytes.buffer));
  process.stdout.write(`${Buffer.from(said.buffer).toString("base64")}\n`);
}
