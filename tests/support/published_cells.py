"""The cells of the catalogue, written down once more in numpy in float64, from their papers.

Each function is one step: weights, the input x (B, I) and the states before by their names, each
(B, H), to the states after; beside the states are the inputs of the step. `w.x("f", v)` is W_x v +
b_x of gate f, `w.u("f", v)` is W_h v + b_h, `w["p_i"]` a vector. W_h is the matrix that is learned,
whatever a cell makes of it. What a paper calls otherwise is said in the cell's own file. No line
here comes from there: numbers and forms are those of the papers.
"""

import numpy as np
import scipy.linalg

__all__ = ["PUBLISHED", "LayerWeights"]


class LayerWeights:
    """The blocks of the first layer's weights, by the name of the gate."""

    def __init__(self, layer):
        self.cell, self.size, self.heads = layer.cell, layer.hidden_size, layer.heads
        self.arrays = {
            name.removeprefix("parametrizations.").removesuffix(".original").removesuffix("_l0"): (
                value.detach().double().numpy()
            )
            for name, value in layer.named_parameters()
        }

    def __getitem__(self, vector):
        return self.arrays[vector]

    def _term(self, side, gates, gate, v):
        place = gates.index(gate) * self.size
        rows = slice(place, place + self.size)
        weight = self.arrays[f"weight_{side}"][rows]
        if side == "hh" and self.heads > 1:  # block by block
            pairs = zip(np.split(weight, self.heads), np.split(v, self.heads, 1), strict=True)
            product = np.concatenate([part @ block.T for block, part in pairs], 1)
        else:
            product = v @ weight.T
        return product + self.arrays[f"bias_{side}"][rows]

    def matrix(self, gate):
        place = self.cell.recurrent.index(gate) * self.size
        return self.arrays["weight_hh"][place : place + self.size]

    def bias(self, gate):
        place = self.cell.recurrent.index(gate) * self.size
        return self.arrays["bias_hh"][place : place + self.size]

    def x(self, gate, v):
        return self._term("ih", self.cell.feedforward, gate, v)

    def u(self, gate, v):
        return self._term("hh", self.cell.recurrent, gate, v)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def both(w, gate, x, h):
    return w.x(gate, x) + w.u(gate, h)


# ---- LSTM variants ----


def lstm_1997(w, x, s):
    """Hochreiter and Schmidhuber (1997): squashing functions g and h of their appendix."""
    y_in, y_out = sigmoid(both(w, "i", x, s["h"])), sigmoid(both(w, "o", x, s["h"]))
    g = 4 / (1 + np.exp(-both(w, "g", x, s["h"]))) - 2
    c = s["c"] + y_in * g
    return {"h": y_out * (2 / (1 + np.exp(-c)) - 1), "c": c}


def odyssey(without="", coupled=False):
    """Greff et al. (2017): a vanilla LSTM with peepholes, and what a variant leaves out."""

    def step(w, x, s):
        y, c = s["h"], s["c"]
        z = both(w, "g", x, y)
        z = z if without == "input activation" else np.tanh(z)
        i = f = o = 1.0
        if without != "input gate":
            i = sigmoid(both(w, "i", x, y) + w["p_i"] * c)
        if coupled:
            f = 1 - i
        elif without != "forget gate":
            f = sigmoid(both(w, "f", x, y) + w["p_f"] * c)
        c = z * i + c * f
        if without != "output gate":
            o = sigmoid(both(w, "o", x, y) + w["p_o"] * c)
        return {"h": (c if without == "output activation" else np.tanh(c)) * o, "c": c}

    return step


def lstm_fgr(w, x, s):
    """Greff et al. (2017): R_ii i + R_fi f + R_oi o of the step before, and so for f and o."""
    y, c, before = s["h"], s["c"], {k: s[k] for k in "ifo"}
    names = {("i", "f"): "if_"}

    def gate(k, c):
        others = (w.u(names.get((j, k), j + k), before[j]) for j in "ifo")
        return sigmoid(both(w, k, x, y) + sum(others) + w[f"p_{k}"] * c)

    i, f = gate("i", c), gate("f", c)
    c = np.tanh(both(w, "g", x, y)) * i + c * f
    o = gate("o", c)
    return {"h": np.tanh(c) * o, "c": c, "i": i, "f": f, "o": o}


def lstm_wmc(w, x, s):
    """Landi et al. (2021): tanh(W_ic c), tanh(W_fc c), and tanh(W_oc c) of the new c."""
    i, f = (sigmoid(both(w, k, x, s["h"]) + np.tanh(w.u(f"m_{k}", s["c"]))) for k in "if")
    c = f * s["c"] + i * np.tanh(both(w, "g", x, s["h"]))
    o = sigmoid(both(w, "o", x, s["h"]) + np.tanh(w.u("m_o", c)))
    return {"h": o * np.tanh(c), "c": c}


def lstm_residual(w, x, s):
    """Kim et al. (2017): h = o * (W_p tanh(c) + W_h x)."""
    c = s["c"]
    i = sigmoid(both(w, "i", x, s["h"]) + w["p_i"] * c)
    f = sigmoid(both(w, "f", x, s["h"]) + w["p_f"] * c)
    c = f * c + i * np.tanh(both(w, "g", x, s["h"]))
    o = sigmoid(both(w, "o", x, s["h"]) + w["p_o"] * c)
    return {"h": o * (w.u("m", np.tanh(c)) + w.x("m", x)), "c": c}


def lstm3(w, x, s):
    """Lu and Salem (2017): each gate is s(b)."""
    c = sigmoid(w["b_f"]) * s["c"] + sigmoid(w["b_i"]) * np.tanh(both(w, "g", x, s["h"]))
    return {"h": sigmoid(w["b_o"]) * np.tanh(c), "c": c}


def indy_lstm(w, x, s):
    """Gonnet and Deselaers: u * h in the place of U h."""
    i, f, o = (sigmoid(w.x(k, x) + w[f"u_{k}"] * s["h"]) for k in "ifo")
    c = f * s["c"] + i * np.tanh(w.x("g", x) + w["u_g"] * s["h"])
    return {"h": o * np.tanh(c), "c": c}


def slstm(w, x, s):
    """Beck et al. (2024): the sLSTM with its stabilizer state, forget gate a sigmoid."""
    z, o = np.tanh(both(w, "g", x, s["h"])), sigmoid(both(w, "o", x, s["h"]))
    log_i = both(w, "i", x, s["h"])
    log_f = np.log(sigmoid(both(w, "f", x, s["h"])))
    m = np.where(s["n"] > 0, np.maximum(log_f + s["m"], log_i), log_i)
    i, f = np.exp(log_i - m), np.exp(log_f + s["m"] - m)
    c, n = f * s["c"] + i * z, f * s["n"] + i
    return {"h": o * c / n, "c": c, "n": n, "m": m}


def group_gru(w, x, s):
    """Cho et al. (2014) in groups: the reset gate before the product, as in Gao et al. (2018)."""
    h = s["h"]
    r, z = sigmoid(both(w, "r", x, h)), sigmoid(both(w, "z", x, h))
    return {"h": (1 - z) * h + z * np.tanh(w.x("n", x) + w.u("n", r * h))}


# ---- LSTMs with an order or a scale ----


def norm(v, gain=1.0, bias=0.0):
    """Ba et al. (2016), equations 15 to 19; the constant in the root is torch's."""
    mean = v.mean(-1, keepdims=True)
    variance = ((v - mean) ** 2).mean(-1, keepdims=True)
    return (v - mean) / np.sqrt(variance + 1e-5) * gain + bias


def lstm_layer_norm(w, x, s):
    """Ba et al. (2016), equations 20 to 22, gate by gate."""
    i, f, g, o = (
        norm(w.u(k, s["h"]), w[f"r_{k}"]) + norm(w.x(k, x), w[f"w_{k}"]) + w[f"b_{k}"]
        for k in "ifgo"
    )
    c = sigmoid(f) * s["c"] + sigmoid(i) * np.tanh(g)
    return {"h": sigmoid(o) * np.tanh(norm(c, w["w"], w["b"])), "c": c}


def cumax(v):
    exponents = np.exp(v)
    return np.cumsum(exponents, -1) / exponents.sum(-1, keepdims=True)


def on_lstm(w, x, s):
    """Shen et al. (2019), section 4: both master gates, their overlap, and what it leaves."""
    i, f, g, o, a, b = (both(w, k, x, s["h"]) for k in "ifgoab")
    master_f, master_i = cumax(a), 1 - cumax(b)
    overlap = master_f * master_i
    f = sigmoid(f) * overlap + master_f - overlap
    i = sigmoid(i) * overlap + master_i - overlap
    c = f * s["c"] + i * np.tanh(g)
    return {"h": sigmoid(o) * np.tanh(c), "c": c}


# ---- smaller GRUs ----


def gru_of(r_of, z_of):
    """Dey and Salem (2017): h = (1 - z) * h + z * tanh(W x + U (r * h) + b)."""

    def step(w, x, s):
        h, r, z = s["h"], r_of(w, s["h"]), z_of(w, s["h"])
        return {"h": (1 - z) * h + z * np.tanh(w.x("n", x) + w.u("n", r * h))}

    return step


def mgu_of(f_of):
    """Zhou et al. (2016): one gate f in both places."""

    def step(w, x, s):
        h, f = s["h"], f_of(w, x, s["h"])
        return {"h": (1 - f) * h + f * np.tanh(w.x("n", x) + w.u("n", f * h))}

    return step


def mut1(w, x, s):
    """Jozefowicz et al. (2015), with W x where they write x."""
    h = s["h"]
    z, r = sigmoid(w.x("z", x)), sigmoid(both(w, "r", x, h))
    return {"h": np.tanh(w.u("n", r * h) + np.tanh(w.x("n", x))) * z + h * (1 - z)}


def mut2(w, x, s):
    h = s["h"]
    z, r = sigmoid(both(w, "z", x, h)), sigmoid(both(w, "r", x, h))
    return {"h": np.tanh(w.u("n", r * h) + w.x("n", x)) * z + h * (1 - z)}


def mut3(w, x, s):
    h = s["h"]
    z, r = sigmoid(both(w, "z", x, np.tanh(h))), sigmoid(both(w, "r", x, h))
    return {"h": np.tanh(w.u("n", r * h) + w.x("n", x)) * z + h * (1 - z)}


def light_ru(w, x, s):
    """Ye et al. (2024)."""
    f = sigmoid(both(w, "f", x, s["h"]))
    return {"h": (1 - f) * s["h"] + f * np.tanh(w.x("n", x))}


def li_gru(w, x, s):
    """Ravanelli et al. (2018), without batch normalisation."""
    z = sigmoid(both(w, "z", x, s["h"]))
    return {"h": z * s["h"] + (1 - z) * np.maximum(both(w, "n", x, s["h"]), 0)}


def miru1(w, x, s):
    """Zyarah and Kudithipudi (2025), beta = lambda = 0.5."""
    r = sigmoid(both(w, "r", x, s["h"]))
    return {"h": 0.5 * s["h"] + 0.5 * np.tanh(both(w, "n", x, r * s["h"]))}


def miru2(w, x, s):
    return {"h": 0.5 * s["h"] + 0.5 * np.tanh(both(w, "n", x, 0.5 * s["h"]))}


# ---- other gated cells ----


def ugrnn(w, x, s):
    """Collins et al. (2017)."""
    g = sigmoid(both(w, "g", x, s["h"]))
    return {"h": g * s["h"] + (1 - g) * np.tanh(both(w, "n", x, s["h"]))}


def atr(w, x, s):
    """Zhang et al. (2018): p = W x, q = U h."""
    p, q = w.x("p", x), w.u("p", s["h"])
    return {"h": sigmoid(p + q) * p + sigmoid(p - q) * s["h"]}


def brc(w, x, s):
    """Vecoven et al. (2021), the bistable recurrent cell."""
    h = s["h"]
    a = 1 + np.tanh(w.x("a", x) + w["w_a"] * h)
    c = sigmoid(w.x("c", x) + w["w_c"] * h)
    return {"h": c * h + (1 - c) * np.tanh(w.x("n", x) + a * h)}


def nbrc(w, x, s):
    h = s["h"]
    a, c = 1 + np.tanh(both(w, "a", x, h)), sigmoid(both(w, "c", x, h))
    return {"h": c * h + (1 - c) * np.tanh(w.x("n", x) + a * h)}


def cfn(w, x, s):
    """Laurent and von Brecht (2017)."""
    theta, eta = sigmoid(both(w, "theta", x, s["h"])), sigmoid(both(w, "eta", x, s["h"]))
    return {"h": theta * np.tanh(s["h"]) + eta * np.tanh(w.x("n", x))}


def ran(w, x, s):
    """Lee et al. (2017)."""
    i, f = sigmoid(both(w, "i", x, s["h"])), sigmoid(both(w, "f", x, s["h"]))
    c = i * w.x("g", x) + f * s["c"]
    return {"h": np.tanh(c), "c": c}


def sgu(w, x, s):
    """Gao and Glowacka (2016)."""
    h = s["h"]
    z_g = np.tanh(w.u("g", w.x("g", x) * h))
    z_out = np.log(1 + np.exp(z_g * h))
    z = np.clip(0.2 * both(w, "z", x, h) + 0.5, 0, 1)
    return {"h": (1 - z) * h + z * z_out}


def dsgu(w, x, s):
    """Gao and Glowacka (2016): the SGU with z_out = s(W_go (z_g * h))."""
    h = s["h"]
    z_g = np.tanh(w.u("g", w.x("g", x) * h))
    z_out = sigmoid(w.u("k", z_g * h))
    z = np.clip(0.2 * both(w, "z", x, h) + 0.5, 0, 1)
    return {"h": (1 - z) * h + z * z_out}


def star(w, x, s):
    """Turkoglu et al. (2021)."""
    k = sigmoid(both(w, "k", x, s["h"]))
    return {"h": np.tanh((1 - k) * s["h"] + k * np.tanh(w.x("z", x)))}


def minimal_rnn(w, x, s):
    """Chen (2017): u = s(U_h h + U_z z + b)."""
    z = np.tanh(w.x("z", x))
    u = sigmoid(w.u("z", s["h"]) + w.u("g", z))
    return {"h": u * s["h"] + (1 - u) * z}


def nas(w, x, s):
    """Zoph and Le (2017): the tree of eight leaves, two by two."""
    pre = [both(w, k, x, s["h"]) for k in "abdefgkl"]
    leaves = [
        (sigmoid(pre[0]), np.maximum(pre[1], 0)),
        (sigmoid(pre[2]), np.maximum(w.x("e", x) * w.u("e", s["h"]), 0)),
        (np.tanh(pre[4]), sigmoid(pre[5])),
        (np.tanh(pre[6]), sigmoid(pre[7])),
    ]
    first, second = np.tanh(leaves[0][0] * leaves[0][1]), np.tanh(sum(leaves[1]))
    third, fourth = np.tanh(leaves[2][0] * leaves[2][1]), sigmoid(sum(leaves[3]))
    c = np.tanh(first + s["c"]) * second
    return {"h": np.tanh(c * np.tanh(third + fourth)), "c": c}


def rhn(w, x, s):
    """Zilly et al. (2017), depth 1, c = 1 - t."""
    t = sigmoid(both(w, "t", x, s["h"]))
    return {"h": np.tanh(both(w, "n", x, s["h"])) * t + s["h"] * (1 - t)}


def rhn3(w, x, s):
    """Zilly et al. (2017), depth 3, c = 1 - t, the input in the first layer alone."""
    state = s["h"]
    for n, t in (("n", "t"), ("n_2", "t_2"), ("n_3", "t_3")):
        first = n == "n"
        a, b = w.u(n, state) + first * w.x("n", x), w.u(t, state) + first * w.x("t", x)
        state = np.tanh(a) * sigmoid(b) + state * (1 - sigmoid(b))
    return {"h": state}


def rwa(w, x, s):
    """Ostmeyer and Cowell (2019): sums as they are, which the states hold divided by exp(m)."""
    numerator, denominator = s["n"] * np.exp(s["m"]), s["d"] * np.exp(s["m"])
    z = w.x("k", x) * np.tanh(both(w, "g", x, s["h"]))
    a = both(w, "a", x, s["h"])
    numerator, denominator = numerator + z * np.exp(a), denominator + np.exp(a)
    m = np.where(s["d"] > 0, np.maximum(s["m"], a), a)
    h = np.tanh(numerator / denominator)
    return {"h": h, "n": numerator / np.exp(m), "d": denominator / np.exp(m), "m": m}


# ---- multiplicative cells ----


def mrnn(w, x, s):
    """Sutskever et al. (2011): f = diag(W_fx x) W_fh h."""
    f = w.x("m", x) * w.u("m", s["h"])
    return {"h": np.tanh(w.u("n", f) + w.x("n", x))}


def mlstm(w, x, s):
    """Krause et al. (2016)."""
    m = w.x("m", x) * w.u("m", s["h"])
    i, f, o = (sigmoid(both(w, k, x, m)) for k in "ifo")
    c = f * s["c"] + i * np.tanh(both(w, "g", x, m))
    return {"h": o * np.tanh(c), "c": c}


def mi_rnn(w, x, s):
    """Wu et al. (2016): alpha * Wx * Uz + beta_1 * Uz + beta_2 * Wx + b."""
    from_x, from_h = w.x("a", x), w.u("a", s["h"])
    return {
        "h": np.tanh(w["alpha"] * from_x * from_h + w["beta_1"] * from_h + w["beta_2"] * from_x)
    }


def delta_rnn(w, x, s):
    """Ororbia et al. (2017): z = tanh(d1 + d2 + b), r = s(W x + b_r)."""
    from_x, from_h = w.x("z", x), w.u("z", s["h"])
    d1 = w["alpha"] * from_h * from_x
    d2 = w["beta_1"] * from_h + w["beta_2"] * from_x
    z, r = np.tanh(d1 + d2 + w["b_z"]), sigmoid(from_x + w["b_r"])
    return {"h": np.tanh((1 - r) * z + r * s["h"])}


# ---- cells that reach further back ----


def scrn(w, x, s):
    """Mikolov et al. (2014), alpha = 0.95, the output before it is squashed."""
    slow = 0.05 * w.x("s", x) + 0.95 * s["s"]
    hidden = sigmoid(w.u("p", slow) + both(w, "k", x, s["k"]))
    return {"h": w.u("y", hidden) + w.u("v", slow), "k": hidden, "s": slow}


def and_former(h, s):
    """Return h with what it was before, each a step older: a delay line."""
    line = sorted((k for k in s if k.startswith("h_")), key=lambda k: int(k[2:]))
    return {"h": h, **{k: s[before] for before, k in zip(["h", *line], line, strict=False)}}


def hornn(w, x, s):
    """Soltani and Jiang (2016): h_t = f(W x_t + sum_n W_n h_{t-n}), n = 1, 2, 3."""
    feedback = w.u("a", s["h"]) + w.u("b", s["h_2"]) + w.u("d", s["h_3"])
    return and_former(np.tanh(w.x("a", x) + feedback), s)


def dilated_rnn(w, x, s):
    """Chang et al. (2017): h_t = f(x_t, h_{t-4})."""
    return and_former(np.tanh(w.x("a", x) + w.u("a", s["h_4"])), s)


def tau_gru(w, x, s):
    """Erichson et al. (2022), a delay of 10 steps from h_{t-1}."""
    h = s["h"]
    u, z = np.tanh(both(w, "a", x, h)), np.tanh(both(w, "z", x, s["h_11"]))
    g, a = sigmoid(both(w, "g", x, h)), sigmoid(both(w, "r", x, h))
    return and_former((1 - g) * h + g * (u + a * z), s)


# ---- gates that see the input alone ----


def t_rnn(w, x, s):
    """Balduzzi and Ghifary (2016)."""
    f = sigmoid(w.x("f", x))
    return {"h": f * s["h"] + (1 - f) * w.x("z", x)}


def typed(w, x, s):
    z, o = w.x("z", x) + s["v_z"], np.tanh(w.x("o", x) + s["v_o"])
    return z, sigmoid(w.x("f", x) + s["v_f"]), o, {k: w.x(k, x) for k in ("v_z", "v_f", "v_o")}


def t_gru(w, x, s):
    z, f, o, before = typed(w, x, s)
    return {"h": f * s["h"] + z * o, **before}


def t_lstm(w, x, s):
    z, f, o, before = typed(w, x, s)
    c = f * s["c"] + (1 - f) * z
    return {"h": c * o, "c": c, **before}


def qrnn_f(w, x, s):
    """Bradbury et al. (2017), f-pooling, width 1."""
    f = sigmoid(w.x("f", x))
    return {"h": f * s["h"] + (1 - f) * np.tanh(w.x("z", x))}


def qrnn(w, x, s):
    f = sigmoid(w.x("f", x))
    c = f * s["c"] + (1 - f) * np.tanh(w.x("z", x))
    return {"h": sigmoid(w.x("o", x)) * c, "c": c}


def qrnn_ifo(w, x, s):
    c = sigmoid(w.x("f", x)) * s["c"] + sigmoid(w.x("i", x)) * np.tanh(w.x("z", x))
    return {"h": sigmoid(w.x("o", x)) * c, "c": c}


def sru(w, x, s):
    """Lei et al. (2018)."""
    f, r = (sigmoid(w.x(k, x) + w[f"v_{k}"] * s["c"]) for k in "fr")
    c = f * s["c"] + (1 - f) * w.x("n", x)
    return {"h": r * c + (1 - r) * w.x("k", x), "c": c}


def gilr(w, x, s):
    """Martin and Cundy (2018)."""
    g = sigmoid(w.x("g", x))
    return {"h": g * s["h"] + (1 - g) * np.tanh(w.x("i", x))}


def positive(a):
    """Feng et al. (2024): g of their log-space versions."""
    return np.where(a >= 0, a + 0.5, sigmoid(a))


def min_gru(candidate=lambda a: a):
    """Feng et al. (2024)."""

    def step(w, x, s):
        z = sigmoid(w.x("z", x))
        return {"h": (1 - z) * s["h"] + z * candidate(w.x("n", x))}

    return step


def min_lstm(candidate=lambda a: a):
    def step(w, x, s):
        f, i = sigmoid(w.x("f", x)), sigmoid(w.x("i", x))
        return {"h": f / (f + i) * s["h"] + i / (f + i) * candidate(w.x("n", x))}

    return step


def lru(w, x, s):
    """Orvieto et al. (2023), in complex numbers."""
    eigenvalue = np.exp(-np.exp(w["nu"]) + 1j * np.exp(w["theta"]))
    gamma = np.sqrt(1 - np.abs(eigenvalue) ** 2)
    state = eigenvalue * (s["p"] + 1j * s["q"]) + gamma * (w.x("a", x) + 1j * w.x("b", x))
    return {
        "h": w.u("c", state.real) + w.u("d", state.imag) + w.x("c", x),
        "p": state.real,
        "q": state.imag,
    }


def rg_lru(w, x, s):
    """De et al. (2024): a_t = a^(8 r_t) with a = s(Lambda)."""
    r, i = sigmoid(w.x("r", x)), sigmoid(w.x("i", x))
    a = sigmoid(w["Lambda"]) ** (8 * r)
    return {"h": a * s["h"] + np.sqrt(1 - a**2) * (i * w.x("n", x))}


def rwkv4(w, x, s):
    """Peng et al. (2023): sums as they are, which the states hold divided by exp(m)."""
    a, b = s["a"] * np.exp(s["m"]), s["b"] * np.exp(s["m"])
    k, v, decay = w.x("k", x), w.x("v", x), np.exp(-np.exp(w["w"]))
    wkv = (a + np.exp(w["e"] + k) * v) / (b + np.exp(w["e"] + k))
    m = np.where(s["b"] > 0, np.maximum(s["m"] - np.exp(w["w"]), k), k)
    a, b = decay * a + np.exp(k) * v, decay * b + np.exp(k)
    return {"h": sigmoid(w.x("r", x)) * wkv, "a": a / np.exp(m), "b": b / np.exp(m), "m": m}


# ---- dynamical systems and neurons ----


def ind_rnn(w, x, s):
    """Li et al. (2018)."""
    return {"h": np.maximum(w.x("a", x) + w["w"] * s["h"], 0)}


def ctrnn(w, x, s):
    """Song et al. (2016), alpha = 20 ms / 100 ms."""
    current = 0.8 * s["v"] + 0.2 * both(w, "a", x, s["h"])
    return {"h": np.maximum(current, 0), "v": current}


def fast_rnn(w, x, s):
    """Kusupati et al. (2018)."""
    candidate = np.tanh(both(w, "n", x, s["h"]))
    return {"h": sigmoid(w["alpha"]) * candidate + sigmoid(w["beta"]) * s["h"]}


def fast_grnn(w, x, s):
    a = both(w, "a", x, s["h"])
    z, candidate = sigmoid(a + w["b_z"]), np.tanh(a + w["b_n"])
    return {"h": (sigmoid(w["zeta"]) * (1 - z) + sigmoid(w["nu"])) * candidate + z * s["h"]}


def cornn(w, x, s):
    """Rusch and Mishra (2021), dt = 0.042, gamma = 2.7, epsilon = 4.7; y is h."""
    y, z = s["h"], s["z"]
    force = np.tanh(both(w, "a", x, y) + w.u("b", z))
    z = z + 0.042 * force - 0.042 * 2.7 * y - 0.042 * 4.7 * z
    return {"h": y + 0.042 * z, "z": z}


def unicornn(w, x, s):
    """Rusch and Mishra (2021), dt = 0.1, alpha = 1."""
    dt = 0.1 * sigmoid(w["c"])
    z = s["z"] - dt * (np.tanh(w["w"] * s["h"] + w.x("a", x)) + s["h"])
    return {"h": s["h"] + dt * z, "z": z}


def lem(w, x, s):
    """Rusch et al. (2022), dt = 1; y is h, and sees the new z."""
    y = s["h"]
    dt, dt_bar = sigmoid(both(w, "d_z", x, y)), sigmoid(both(w, "d_y", x, y))
    z = (1 - dt) * s["c"] + dt * np.tanh(both(w, "z", x, y))
    return {"h": (1 - dt_bar) * y + dt_bar * np.tanh(both(w, "y", x, z)), "c": z}


def ltc(w, x, s):
    """Hasani et al. (2021): the fused solver, one step of 1."""
    f = sigmoid(both(w, "f", x, s["h"]))
    return {"h": (s["h"] + f * w["A"]) / (1 + (1 / w["tau"] + f))}


def cfc(w, x, s):
    """Hasani et al. (2022), t = 1."""
    gate = sigmoid(-both(w, "f", x, s["h"]))
    g, h = np.tanh(both(w, "g", x, s["h"])), np.tanh(both(w, "n", x, s["h"]))
    return {"h": gate * g + (1 - gate) * h}


def lif(w, x, s):
    """Neftci et al. (2019): decay 0.9, threshold 1, which a spike takes from the potential."""
    potential = 0.9 * s["v"] + both(w, "a", x, s["h"]) - s["h"]
    return {"h": (potential > 1).astype(float), "v": potential}


def alif(w, x, s):
    """Bellec et al. (2018), equations 1-3: V(t+1) = ... - B(t) z(t), with B = 1 + 0.5 b."""
    passed, b = 1 + 0.5 * s["b"], 0.97 * s["b"] + 0.03 * s["h"]
    potential = 0.9 * s["v"] + 0.1 * both(w, "a", x, s["h"]) - passed * s["h"]
    return {"h": (potential > 1 + 0.5 * b).astype(float), "v": potential, "b": b}


# ---- time, and tied weights ----


def phased_lstm(w, x, s):
    """Neil et al. (2016): phi is the phase in a period tau, and k opens for 0.05 of it; leak 0.001.

    The period is exp(p), the shift s in parts of it.
    """
    t, tau = s["t"] + s["dt"], np.exp(w["p"])
    phi = np.mod(t - w["s"] * tau, tau) / tau
    k = np.select([phi < 0.025, phi < 0.05], [2 * phi / 0.05, 2 - 2 * phi / 0.05], 0.001 * phi)
    i, f = (sigmoid(both(w, g, x, s["h"]) + w[f"p_{g}"] * s["c"]) for g in "if")
    tilde = f * s["c"] + i * np.tanh(both(w, "g", x, s["h"]))
    o = sigmoid(both(w, "o", x, s["h"]) + w["p_o"] * tilde)
    h, c = (k * new + (1 - k) * s[name] for name, new in (("h", o * np.tanh(tilde)), ("c", tilde)))
    return {"h": h, "c": c, "t": t}


def gru_d(w, x, s):
    """Che et al. (2018): gamma = exp(-max(0, w delta + b)), then a GRU over gamma h."""
    h = np.exp(-np.maximum(0, w["w"] * s["dt"] + w["b"])) * s["h"]
    r, z = sigmoid(both(w, "r", x, h)), sigmoid(both(w, "z", x, h))
    return {"h": (1 - z) * h + z * np.tanh(both(w, "n", x, r * h))}


def clockwork(w, x, s):
    """Koutnik et al. (2014): module g has period 2^g, and reads those of its period and longer."""
    size = len(w.matrix("a"))
    module = [4 * unit // size for unit in range(size)]
    connected = np.array([[module[j] >= module[i] for j in range(size)] for i in range(size)])
    new = np.tanh(w.x("a", x) + s["h"] @ (w.matrix("a") * connected).T + w.bias("a"))
    period = np.array([2**g for g in module])
    return {"h": np.where(s["n"] % period == 0, new, s["h"]), "n": s["n"] + 1}


def antisymmetric_part(w, x, s):
    matrix = w.matrix("n") - w.matrix("n").T - 0.01 * np.eye(len(w.matrix("n")))
    return s["h"] @ matrix.T + w.bias("n")


def antisymmetric(w, x, s):
    """Chang et al. (2019): epsilon = 0.1, gamma = 0.01."""
    return {"h": s["h"] + 0.1 * np.tanh(antisymmetric_part(w, x, s) + w.x("n", x))}


def gated_antisymmetric(w, x, s):
    part = antisymmetric_part(w, x, s)
    return {"h": s["h"] + 0.1 * sigmoid(part + w.x("z", x)) * np.tanh(part + w.x("n", x))}


def exp_rnn(w, x, s):
    """Lezcano-Casado and Martinez-Rubio (2019); the exponential by scipy, the modReLU by cases."""
    upper = np.triu(w.matrix("a"), 1)
    a = w.x("a", x) + s["h"] @ scipy.linalg.expm(upper - upper.T).T + w.bias("a")
    opened = np.abs(a) + w["b"]
    return {"h": np.where(opened >= 0, opened * np.sign(a), 0.0)}


def lipschitz(w, x, s):
    """Erichson et al. (2021): beta = 0.75, gamma = 0.001, a step of 0.03."""

    def made(m):
        return 0.25 * (m + m.T) + 0.75 * (m - m.T) - 0.001 * np.eye(len(m))

    linear = s["h"] @ made(w.matrix("a")).T + w.bias("a")
    squashed = np.tanh(s["h"] @ made(w.matrix("n")).T + w.bias("n") + w.x("n", x))
    return {"h": s["h"] + 0.03 * linear + 0.03 * squashed}


PUBLISHED = {
    "lstm_1997": lstm_1997,
    "lstm_peephole": odyssey(),
    "lstm_nig": odyssey("input gate"),
    "lstm_nfg": odyssey("forget gate"),
    "lstm_nog": odyssey("output gate"),
    "lstm_niaf": odyssey("input activation"),
    "lstm_noaf": odyssey("output activation"),
    "lstm_cifg": odyssey(coupled=True),
    "lstm_fgr": lstm_fgr,
    "lstm_wmc": lstm_wmc,
    "lstm_residual": lstm_residual,
    "lstm3": lstm3,
    "indy_lstm": indy_lstm,
    "slstm": slstm,
    "slstm_heads": slstm,
    "lstm_layer_norm": lstm_layer_norm,
    "on_lstm": on_lstm,
    "gru1": gru_of(lambda w, h: sigmoid(w.u("r", h)), lambda w, h: sigmoid(w.u("z", h))),
    "gru3": gru_of(lambda w, h: sigmoid(w["b_r"]), lambda w, h: sigmoid(w["b_z"])),
    "mgu": mgu_of(lambda w, x, h: sigmoid(both(w, "f", x, h))),
    "mgu1": mgu_of(lambda w, x, h: sigmoid(w.u("f", h))),
    "mgu3": mgu_of(lambda w, x, h: sigmoid(w["b_f"])),
    **{
        step.__name__: step
        for step in (
            *(group_gru, mut1, mut2, mut3, light_ru, li_gru, miru1, miru2),
            *(ugrnn, atr, brc, nbrc, cfn, ran, sgu, dsgu, star, minimal_rnn, nas),
            *(rhn, rhn3, rwa),
            *(mrnn, mlstm, mi_rnn, delta_rnn),
            *(scrn, hornn, dilated_rnn, tau_gru),
            *(t_rnn, t_gru, t_lstm, qrnn_f, qrnn, qrnn_ifo, sru, gilr, lru, rg_lru, rwkv4),
            *(phased_lstm, gru_d),
            *(clockwork, antisymmetric, gated_antisymmetric, exp_rnn, lipschitz),
            *(ind_rnn, ctrnn, fast_rnn, fast_grnn, cornn, unicornn, lem, ltc, cfc, lif, alif),
        )
    },
    "min_gru": min_gru(),
    "min_gru_log": min_gru(positive),
    "min_lstm": min_lstm(),
    "min_lstm_log": min_lstm(positive),
}
"""A step of each cell by the cell's name."""
