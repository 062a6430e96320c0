/** A model that `unrolled export --wasm` wrote, as the default export of its model.js. */
export interface Description {
  /** V of a model of tokens, which a step reads one of, from 0 on; null of one of numbers. */
  readonly tokens: number | null;
  /** Numbers that a step reads, 1 of a token; of a picture bytes of a place of its grid. */
  readonly inputs: number;
  /** Numbers that are said. */
  readonly outputs: number;
  /** Whether both are doubles: of a forecaster, which is given numbers of the data. */
  readonly doubles: boolean;
  /** What `run` reads into, by the name of the class of arrays. */
  readonly reads: "Float32Array" | "Float64Array" | "Int32Array" | "Uint8Array";
  /** Pixels of each side of the picture that is read; null of other models. */
  readonly side: number | null;
  /** Places of its grid, each a step of `run`; null of other models. */
  readonly grid: number | null;
  /** Set of a model that writes words of what `run` has read: `Writer` of writing.js does. */
  readonly writes: number | null;
  /** Whether it looks at what was read for each word, 1, or not, 0. */
  readonly places: number;
  /** Whether they are said of the whole sequence until now, and not of each step. */
  readonly pooled: boolean;
  /** Whether it goes step by step; not where it reads from both ends. */
  readonly steps: boolean;
  /** How its matrices are stored. */
  readonly weights: "f32" | "int8";
  /** Numbers of a step that have a name. */
  readonly traced: number;
  /** Of each layer and direction, in the order of the names in the model, what has a name. */
  readonly records: readonly Traced[];
  /** What text becomes tokens by, of a run; as in the files of `unrolled export --c`. */
  readonly content?: unknown;
}

export interface Traced {
  /** The cell. */
  readonly cell: string;
  /** Whether it reads from the end. */
  readonly reverse: boolean;
  readonly units: number;
  /** By name, where in a step's traced numbers those of the first unit is; the others follow. */
  readonly at: Readonly<Record<string, number>>;
}

/** One sequence that a model reads. */
export class Model {
  private constructor();
  /** Makes it ready, before its first step. Throws where there is no WebAssembly. */
  static load(model: Description): Promise<Model>;
  readonly model: Description;
  /** Whether this browser computes with vectors; without it is slower, and the same. */
  readonly simd: boolean;
  /** What has a name, (steps, traced), of the last call that asked for it. */
  readonly traced?: Float32Array;
  /**
   * Reads a step, a token or `inputs` numbers, and says `outputs` numbers.
   * Throws RangeError for another number of numbers, or a token that there is not; then nothing is
   * read. Throws Error where the model has no steps.
   */
  step(x: number | ArrayLike<number>, trace?: boolean): Float32Array;
  /**
   * Reads several steps, after those before; a model without steps a whole sequence.
   * Says (steps, outputs), or `outputs` numbers where `pooled`. Throws as `step` does.
   * A step of a forecaster is a window, each by itself, and what is said are doubles.
   */
  run(x: ArrayLike<number>, trace?: boolean): Float32Array | Float64Array;
  /**
   * A token drawn from softmax(scores / temperature) of what was said last; the greatest at 0.
   * Throws Error where nothing was, and of a forecaster, RangeError for a temperature that is no number, infinite or
   * below 0.
   */
  draw(temperature?: number): number;
  /** Begins another sequence. */
  reset(): void;
  /** What goes from step to step: a copy, which can be given back. */
  state: Uint8Array;
  /** Where drawing begins: any number but 0. */
  set seed(seed: number);
}
