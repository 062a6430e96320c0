import type { Description } from "./unrolled.js";

declare const model: Description;
export default model;
