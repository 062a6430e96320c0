"""What each kind of module becomes in C: a function of one step, its weights and its state.

Every function is `static void NAME(MODEL *m, const float *in, float *out)`. The first one of a
model of tokens reads `m->token`, and its `in` is not used.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.errors import OptionError
from unrolled.export.c.source import Source
from unrolled.kernels import BlockShape, EquationsError, Weights, plain_step
from unrolled.layers import TCN, RecurrentLayer, ResidualBlock
from unrolled.networks.both_directions import BothDirections
from unrolled.networks.memoryless import Conv, Dense
from unrolled.wrappers import LockedDropout, Residual, Stacked

__all__ = ["Stage", "add_module", "add_one_hot", "add_pooling", "refuse_changed"]

_ACTIVATIONS = {nn.ReLU: "relu", nn.Tanh: "tanh_of", nn.Sigmoid: "sigmoid_of"}
_NOTHING = (nn.Dropout, nn.Identity, LockedDropout)


@dataclass(frozen=True)
class Stage:
    """A step of a model's parts: the name of its function, and of what reads from the end.

    Args:
        ahead: The function.
        back: That of the other direction; None where there is one direction.
        size: Features that it gives, of one direction.
    """

    ahead: str
    back: str | None
    size: int

    @property
    def output_size(self) -> int:
        """Features that it gives."""
        return self.size * (1 if self.back is None else 2)


class _Body:
    """The statements of one part's function."""

    def __init__(self, source: Source, model: str, name: str) -> None:
        self.source, self._model, self.name = source, model, name
        self.lines: list[str] = []

    def end(self) -> str:
        """Add the function to the file, and return its name."""
        body = "\n".join(f"  {line}" for line in self.lines)
        unused = [each for each in ("m", "in") if not re.search(rf"\b{each}\b", body)]
        quiet = "".join(f"  (void){each};\n" for each in unused)
        head = f"static void {self.name}({self._model} *m, const float *in, float *out) {{"
        self.source.functions.append(f"{head}\n{quiet}{body}\n}}\n")
        return self.name


class Writer:
    """Adds modules to a file.

    Args:
        source: The file.
        model: What an instance is called.
    """

    def __init__(self, source: Source, model: str) -> None:
        self.source, self._model = source, model
        self._num_parts = 0

    @property
    def has_begun(self) -> bool:
        """Whether there is a part already."""
        return self._num_parts > 0

    def body(self) -> _Body:
        """Return the function of another part."""
        self._num_parts += 1
        return _Body(self.source, self._model, f"part{self._num_parts}")


def add_one_hot(writer: Writer, size: int) -> Stage:
    """Add what lays a token out as a one among zeros."""
    body = writer.body()
    body.lines += [f"zero({size}, out);", "out[m->token] = 1.0f;"]
    return Stage(body.end(), None, size)


def add_module(writer: Writer, module: nn.Module, size: int, *, one_hot: bool) -> list[Stage]:
    """Add a module; return its stages.

    Args:
        writer: Of the file.
        module: What is added.
        size: Features that it reads at each step.
        one_hot: Whether what it reads is a token, `size` that there are.

    Raises:
        OptionError: A kind of module that there is no C for, or one that reads something else
            than what comes before it gives.
    """
    refuse_changed(module)
    kind = type(module).__name__
    reads = getattr(module, "input_size", getattr(module, "in_features", size))
    if reads != size:
        raise OptionError(
            f"to_c: {kind} reads {reads} features, and what comes before gives {size}"
        )
    if isinstance(module, RecurrentLayer):
        return _add_recurrent(writer, module, one_hot)
    if isinstance(module, nn.Embedding):
        if writer.has_begun:
            raise OptionError(f"to_c: {kind} reads tokens, so that nothing can come before it")
        return [_add_table(writer, module)]
    if isinstance(module, BothDirections):
        return _add_both(writer, module, size, one_hot)
    before = [add_one_hot(writer, size)] if one_hot else []
    if isinstance(module, TCN):
        return before + _add_tcn(writer, module)
    if isinstance(module, (Dense, Conv)):
        return before + _add_memoryless(writer, module)
    if isinstance(module, nn.Linear):
        return [*before, _add_dense(writer, [module])]
    if isinstance(module, (nn.Sequential, Stacked)):
        each = module.layers if isinstance(module, Stacked) else module
        return [*before, *_add_sequential(writer, each, size)]
    if isinstance(module, Residual):
        return [*before, _add_residual(writer, module, size)]
    if type(module) in _ACTIVATIONS:
        body = writer.body()
        body.lines += [f"copy({size}, in, out);", f"{_ACTIVATIONS[type(module)]}({size}, out);"]
        return [*before, Stage(body.end(), None, size)]
    if isinstance(module, _NOTHING):
        return before
    raise OptionError(
        f"to_c: there is no C for {kind}",
        "what there is: unrolled's layers, Stacked, Residual, Embedding, Linear, ReLU, Tanh, "
        "Sigmoid, Sequential",
    )


_KINDS: tuple[type[nn.Module], ...] = (RecurrentLayer, TCN, Dense, Conv, BothDirections)
_KINDS += (nn.Embedding, nn.Linear, nn.Sequential, Stacked, Residual, *_NOTHING)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def refuse_changed(module: nn.Module) -> None:
    """Raise `OptionError` where a call of a module is more than what its kind computes."""
    kind = next((each for each in _KINDS if isinstance(module, each)), None)
    name = type(module).__name__
    if kind is not None and type(module).forward is not kind.forward:
        raise OptionError(f"to_c: {name} has a forward of its own", "export it with torch.onnx")
    hooked = any(getattr(part, hooks) for part in module.modules() for hooks in _HOOKS)
    if hooked or any("forward" in vars(part) for part in module.modules()):
        raise OptionError(f"to_c: {name} has hooks, which C would not run", "remove them first")
    if isinstance(module, TCN):
        for level, block in enumerate(module.blocks):
            size = module.output_size if level else module.input_size
            sizes = (size, module.output_size, module.kernel_size, 2**level, 0.0)
            if type(block) is not ResidualBlock or not block.computes(BlockShape(*sizes)):
                raise OptionError(f"to_c: block {level} of {name} is not what it was made as")


def _add_sequential(writer: Writer, modules: Iterable[nn.Module], size: int) -> list[Stage]:
    stages: list[Stage] = []
    for each in modules:
        stages += add_module(writer, each, size, one_hot=False)
        size = stages[-1].output_size if stages else size
    return stages


def _add_residual(writer: Writer, module: Residual, size: int) -> Stage:
    stages = add_module(writer, module.layer, size, one_hot=False)
    if any(stage.back is not None for stage in stages):
        message = "to_c: there is no C for Residual around a layer that reads from the end too"
        raise OptionError(message, "export it with torch.onnx")
    inner = _chained(writer, stages)
    body = writer.body()
    body.lines += [f"{inner}(m, in, out);", f"add({size}, in, out);"]
    return Stage(body.end(), None, size)


def _add_table(writer: Writer, module: nn.Embedding) -> Stage:
    if module.max_norm is not None:
        raise OptionError("to_c: an Embedding with max_norm changes its rows", "export without")
    body = writer.body()
    table = body.source.matrix(f"{body.name}_table", module.weight, is_table=True)
    body.lines.append(f"embed({table}, m->token, out);")
    return Stage(body.end(), None, module.embedding_dim)


# ---- Dense ---------------------------------------------------------------------------------------


def _linear(body: _Body, module: Any, weight: Tensor, read: str, out: str, name: str) -> None:
    """Write out = W read + b; `weight` is (outputs, inputs)."""
    size = weight.shape[0]
    matrix = body.source.matrix(f"{body.name}_{name}", weight)
    body.lines.append(f"product({matrix}, {read}, {out});")
    if module.bias is not None:
        bias = body.source.vector(f"{body.name}_{name}_bias", module.bias.detach())
        body.lines.append(f"add({size}, {bias}, {out});")


def _add_dense(writer: Writer, modules: Sequence[nn.Module]) -> Stage:
    """Add a Linear, and what comes after it and treats each number by itself."""
    linear, *more = modules
    assert isinstance(linear, nn.Linear)
    body = writer.body()
    _linear(body, linear, linear.weight, "in", "out", "dense")
    size = linear.out_features
    body.lines += [f"{_ACTIVATIONS[type(each)]}({size}, out);" for each in more]
    return Stage(body.end(), None, size)


def _add_memoryless(writer: Writer, module: Dense | Conv) -> list[Stage]:
    stages = []
    if isinstance(module, Conv):
        body = writer.body()
        ring = body.source.state(module.receptive_field * module.input_size)
        size = _convolution(body, module.conv, "in", "out", "conv", ring)
        stages.append(Stage(body.end(), None, size))
    return stages + _add_sequential(writer, module.network, module.output_size)


# ---- Convolutions --------------------------------------------------------------------------------


def _convolution(body: _Body, conv: Any, read: str, out: str, name: str, ring: str) -> int:
    """Write a causal convolution of the steps in a ring; return how many features it gives."""
    taps, dilation, size = conv.kernel_size[0], conv.dilation[0], conv.in_channels
    laid = body.source.work(taps * size)
    place = body.source.place()
    body.lines.append(f"window({size}, {taps}, {dilation}, {read}, {ring}, &{place}, {laid});")
    weight = conv.weight.detach().transpose(1, 2).reshape(conv.out_channels, taps * size)
    _linear(body, conv, weight, laid, out, name)
    return int(conv.out_channels)


def _add_tcn(writer: Writer, module: TCN) -> list[Stage]:
    stages = []
    for block in module.blocks:
        conv1: Any = block.conv1
        conv2: Any = block.conv2
        shortcut: Any = block.shortcut
        size = conv1.out_channels
        body = writer.body()
        source = body.source
        middle = f"{source.work(0)} + {conv2.kernel_size[0] * max(conv1.in_channels, size)}"
        source.work(conv2.kernel_size[0] * max(conv1.in_channels, size) + size)
        for conv, read, out, which in ((conv1, "in", middle, "1"), (conv2, middle, "out", "2")):
            length = (conv.kernel_size[0] - 1) * conv.dilation[0] + 1
            _convolution(body, conv, read, out, which, source.state(length * conv.in_channels))
            body.lines.append(f"relu({size}, {out});")
        if isinstance(shortcut, nn.Identity):
            body.lines.append(f"add({size}, in, out);")
        else:
            weight = shortcut.weight.detach()[:, :, 0]
            _linear(body, shortcut, weight, "in", middle, "shortcut")
            body.lines.append(f"add({size}, {middle}, out);")
        body.lines.append(f"relu({size}, out);")
        stages.append(Stage(body.end(), None, size))
    return stages


# ---- Recurrent layers ----------------------------------------------------------------------------


def _add_recurrent(writer: Writer, layer: RecurrentLayer, one_hot: bool) -> list[Stage]:
    stages = []
    suffixes = iter(layer.suffixes)
    for number in range(layer.num_layers):
        names = []
        for suffix in [next(suffixes) for _ in range(1 + layer.bidirectional)]:
            weights = layer.weights_of(suffix)
            names.append(_add_direction(writer, layer, weights, one_hot and not number))
        size = layer.proj_size or layer.hidden_size
        stages.append(Stage(names[0], names[1] if len(names) > 1 else None, size))
    return stages


def _add_direction(writer: Writer, layer: RecurrentLayer, weights: Weights, one_hot: bool) -> str:
    cell, units = layer.cell, layer.hidden_size
    function = re.sub(r"\W", "_", cell.name, flags=re.ASCII)
    try:
        step = writer.source.step(f"cell_{function}", partial(plain_step, cell))
    except EquationsError as error:
        raise OptionError(f"to_c: {error.message}", error.hint) from error
    if layer.proj_size and step.reads_h:
        message = f"to_c: cell {cell.name} reads h, which proj_size makes narrower"
        raise OptionError(message, "export without proj_size")
    body = writer.body()
    source, name, lines = body.source, body.name, body.lines
    state = source.state(len(cell.states) * units)
    h = source.state(layer.proj_size) if layer.proj_size else state

    def rows(weight: Tensor, gates: Sequence[int]) -> Tensor:
        blocks = [weight[gate * units : (gate + 1) * units] for gate in gates]
        return torch.cat(blocks).detach()

    work = source.work(0)
    sums = f"{work} + {step.num_slots * units}" if step.recurrent_gates else "0"
    vectors_at = f"{work} + {(step.num_slots + len(step.recurrent_gates)) * units}"
    num_applied = sum(map(len, step.applied_gates))
    more = len(step.recurrent_gates) + 2 * num_applied
    source.work((step.num_slots + more) * units)
    matrix = source.matrix(f"{name}_input", rows(weights.weight_ih, step.input_gates))
    reads = f"lookup({matrix}, m->token, {work});" if one_hot else f"product({matrix}, in, {work});"
    lines.append(reads)
    if weights.weight_hh is not None and step.recurrent_gates:
        matrix = source.matrix(f"{name}_recurrent", rows(weights.weight_hh, step.recurrent_gates))
        lines.append(f"product({matrix}, {h}, {sums});")
    bias = source.vector(f"{name}_bias", _bias(weights, step, units))
    vectors = "0"
    if weights.parameters:
        vectors = source.vector(f"{name}_vectors", torch.cat([*weights.parameters]).detach())
    given = f"{bias}, {vectors}, {state}"
    place = 0
    for phase, gates in enumerate(step.applied_gates):
        assert weights.weight_hh is not None
        apply = f"{step.function}_apply{phase + 1 if phase else ''}"
        lines.append(f"{apply}({units}, {work}, {sums}, {given}, {vectors_at});")
        sums = f"{vectors_at} + {(num_applied + place) * units}"
        for number, gate in enumerate(gates):
            matrix = source.matrix(f"{name}_applied{place}", rows(weights.weight_hh, [gate]))
            vector = f"{vectors_at} + {place * units}"
            lines.append(f"product({matrix}, {vector}, {sums} + {number * units});")
            place += 1
    lines.append(f"{step.function}_units({units}, {work}, {sums}, {given});")
    if weights.weight_hr is not None:
        matrix = source.matrix(f"{name}_projection", weights.weight_hr.detach())
        lines.append(f"product({matrix}, {state}, {h});")
    lines.append(f"copy({layer.proj_size or units}, {h}, out);")
    return body.end()


def _bias(weights: Weights, step: Any, units: int) -> Tensor:
    """Return the bias of each column, the sum of the two that torch has, as kernels make it."""
    bias = torch.zeros(step.num_columns, units)
    if weights.bias_ih is not None:
        for column, gate in enumerate(step.input_gates):
            bias[column] += weights.bias_ih.detach()[gate * units : (gate + 1) * units]
    if weights.bias_hh is not None:
        applied = [gate for gates in step.applied_gates for gate in gates]
        placed = ((step.recurrent_at, step.recurrent_gates), (step.applied_at, applied))
        for first, gates in placed:
            for column, gate in enumerate(gates, start=first):
                bias[column] += weights.bias_hh.detach()[gate * units : (gate + 1) * units]
    return bias


def _add_both(writer: Writer, module: BothDirections, size: int, one_hot: bool) -> list[Stage]:
    """Add two layers of one kind, of which one reads from the end: as one stage."""
    names = []
    for each in (module.forwards, module.backwards):
        assert isinstance(each, nn.Module)
        stages = add_module(writer, each, size, one_hot=one_hot)
        names.append(_chained(writer, stages))
    return [Stage(names[0], names[1], module.forwards.output_size)]


def _chained(writer: Writer, stages: Sequence[Stage]) -> str:
    """Return the name of one function that runs several."""
    body = writer.body()
    read = "in"
    for number, stage in enumerate(stages):
        is_last = number == len(stages) - 1
        out = "out" if is_last else body.source.state(stage.output_size)
        body.lines.append(f"{stage.ahead}(m, {read}, {out});")
        read = out
    return body.end()


# ---- Pooling -------------------------------------------------------------------------------------


def add_pooling(
    writer: Writer, pooling: str, size: int, attention: nn.Module | None
) -> tuple[str, str]:
    """Add what becomes one of all steps until now.

    Returns:
        The name of its function, and where its output is, which is zeros before a step.
    """
    body = writer.body()
    source, lines = body.source, body.lines
    pooled = source.state(size)
    pool: dict[str, Callable[[], None]] = {
        "last": lambda: None,
        "mean": lambda: _mean(body, size, pooled),
        "max": lambda: _max(body, size, pooled),
        "attention": lambda: _attention(writer, body, size, pooled, attention),
    }
    if pooling == "last":
        lines.append(f"copy({size}, in, {pooled});")
    pool[pooling]()
    lines.append(f"if (out) copy({size}, {pooled}, out);")
    return body.end(), pooled


def _mean(body: _Body, size: int, pooled: str) -> None:
    total, steps = body.source.state(size), body.source.state(1)
    body.lines += [
        f"float *const total = {total}, *const steps = {steps}, *const mean = {pooled};",
        f"add({size}, in, total);",
        "*steps += 1.0f;",
        f"for (int32_t n = 0; n < {size}; n++) mean[n] = total[n] / *steps;",
    ]


def _max(body: _Body, size: int, pooled: str) -> None:
    begun = body.source.state(1)
    body.lines += [
        f"float *const begun = {begun}, *const most = {pooled};",
        f"for (int32_t n = 0; n < {size}; n++) {{",
        "  most[n] = *begun == 0.0f || in[n] > most[n] ? in[n] : most[n];",
        "}",
        "*begun = 1.0f;",
    ]


def _attention(
    writer: Writer, body: _Body, size: int, pooled: str, attention: nn.Module | None
) -> None:
    """Write a softmax over time whose greatest score is kept, so that none overflows."""
    assert isinstance(attention, nn.Sequential)
    source = body.source
    score = _chained(writer, _add_sequential(writer, attention, size))
    total, weight, most = source.state(size), source.state(1), source.state(1)
    body.lines += [
        f"float *const total = {total}, *const weight = {weight}, *const most = {most};",
        f"float *const pooled = {pooled};",
        "float score;",
        f"{score}(m, in, &score);",
        "const float now = *weight == 0.0f || score > *most ? score : *most;",
        "const float old = *weight == 0.0f ? 0.0f : vexp(*most - now);",
        "const float share = vexp(score - now);",
        "*weight = *weight * old + share;",
        "*most = now;",
        f"for (int32_t n = 0; n < {size}; n++) {{",
        "  total[n] = total[n] * old + in[n] * share;",
        "  pooled[n] = total[n] / *weight;",
        "}",
    ]
