// The cells that have a picture, by the name of their equations.

import gru from "./gru.js";
import janet from "./janet.js";
import lstm from "./lstm.js";
import rnn from "./rnn.js";

export const CELLS = { lstm, gru_reset_after: gru, janet, rnn_tanh: rnn };
