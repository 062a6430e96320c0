"""What each kind of module becomes in C: a function of one step, its weights and its state.

Every function is `static void NAME(MODEL *m, const float *in, float *out)`. The first one of a
model of tokens reads `m->token`, and its `in` is not used.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from unrolled.errors import OptionError
from unrolled.export.c.recurrent import add_recurrent, require_first
from unrolled.export.c.stage import Body, Stage, Writer, add_one_hot
from unrolled.kernels import BlockShape
from unrolled.layers import TCN, RecurrentLayer, ResidualBlock
from unrolled.networks.both_directions import BothDirections
from unrolled.networks.memoryless import Conv, Dense
from unrolled.wrappers import LockedDropout, Residual, Stacked

__all__ = [
    "add_module",
    "add_reading",
    "add_sequential",
    "add_table",
    "chained",
    "features_read",
    "refuse_changed",
]

_ACTIVATIONS = {nn.ReLU: "relu", nn.Tanh: "tanh_of", nn.Sigmoid: "sigmoid_of"}
_NOTHING = (nn.Dropout, nn.Identity, LockedDropout)


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
    if isinstance(module, RecurrentLayer):
        require_first(writer, module, one_hot)
    reads = features_read(module) or size
    if reads != size:
        raise OptionError(
            f"export: {kind} reads {reads} features, and what comes before gives {size}"
        )
    if isinstance(module, RecurrentLayer):
        return add_recurrent(writer, module, one_hot)
    if isinstance(module, nn.Embedding):
        if writer.has_begun:
            raise OptionError(f"export: {kind} reads tokens, so that nothing can come before it")
        return [add_table(writer, module)]
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
        return [*before, *add_sequential(writer, each, size)]
    if isinstance(module, Residual):
        return [*before, _add_residual(writer, module, size)]
    if type(module) in _ACTIVATIONS:
        body = writer.body()
        body.lines += [f"copy({size}, in, out);", f"{_ACTIVATIONS[type(module)]}({size}, out);"]
        return [*before, Stage(body.end(), None, size)]
    if isinstance(module, _NOTHING):
        return before
    raise OptionError(
        f"export: there is no C for {kind}",
        "what there is: unrolled's layers, Stacked, Residual, Embedding, Linear, ReLU, Tanh, "
        "Sigmoid, Sequential",
    )


def features_read(module: nn.Module) -> int | None:
    """Return how many features a module reads at a step, inputs of a step among them, or None."""
    size = getattr(module, "input_size", getattr(module, "in_features", None))
    if not isinstance(size, int):
        return None
    if isinstance(module, RecurrentLayer):
        size += len(module.cell.inputs) * module.hidden_size
    return size


_KINDS: tuple[type[nn.Module], ...] = (RecurrentLayer, TCN, Dense, Conv, BothDirections)
_KINDS += (nn.Embedding, nn.Linear, nn.Sequential, Stacked, Residual, *_NOTHING)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def refuse_changed(module: nn.Module) -> None:
    """Raise `OptionError` where a call of a module is more than what its kind computes."""
    kind = next((each for each in _KINDS if isinstance(module, each)), None)
    name = type(module).__name__
    if kind is not None and type(module).forward is not kind.forward:
        raise OptionError(f"export: {name} has a forward of its own", "export it with torch.onnx")
    hooked = any(getattr(part, hooks) for part in module.modules() for hooks in _HOOKS)
    if hooked or any("forward" in vars(part) for part in module.modules()):
        raise OptionError(f"export: {name} has hooks, which C would not run", "remove them first")
    if isinstance(module, TCN):
        for level, block in enumerate(module.blocks):
            size = module.output_size if level else module.input_size
            sizes = (size, module.output_size, module.kernel_size, 2**level, 0.0)
            if type(block) is not ResidualBlock or not block.computes(BlockShape(*sizes)):
                raise OptionError(f"export: block {level} of {name} is not what it was made as")


def add_reading(
    writer: Writer, modules: Sequence[nn.Module], num_tokens: int | None
) -> tuple[list[Stage], int]:
    """Add modules that read a sequence; return their stages, and the features of a step.

    Args:
        writer: Of the file.
        modules: In order.
        num_tokens: V, where tokens are read; else None.

    Raises:
        OptionError: The first does not say how much it reads.
    """
    size = features_read(modules[0]) if num_tokens is None else num_tokens
    first = modules[0]
    while size is None and isinstance(first, nn.Sequential) and len(first):
        first = first[0]
        size = features_read(first)
    if size is None:
        kind = type(modules[0]).__name__
        message = f"export: a model cannot begin with {kind}, which does not say how much it reads"
        raise OptionError(message, "begin with a layer, a Linear or an Embedding")
    reads, stages = size, list[Stage]()
    one_hot = num_tokens is not None and not isinstance(modules[0], nn.Embedding)
    for module in modules:
        stages += add_module(writer, module, size, one_hot=one_hot)
        one_hot = one_hot and not stages
        size = stages[-1].output_size if stages else size
    return stages or [add_one_hot(writer, size)], 1 if num_tokens is not None else reads


def add_sequential(writer: Writer, modules: Iterable[nn.Module], size: int) -> list[Stage]:
    """Add modules one after the other, the first of which reads `size` features."""
    stages: list[Stage] = []
    for each in modules:
        stages += add_module(writer, each, size, one_hot=False)
        size = stages[-1].output_size if stages else size
    return stages


def _add_residual(writer: Writer, module: Residual, size: int) -> Stage:
    stages = add_module(writer, module.layer, size, one_hot=False)
    if any(stage.back is not None for stage in stages):
        message = "export: there is no C for Residual around a layer that reads from the end too"
        raise OptionError(message, "export it with torch.onnx")
    inner = chained(writer, stages)
    body = writer.body()
    body.lines += [f"{inner}(m, in, out);", f"add({size}, in, out);"]
    return Stage(body.end(), None, size)


def add_table(writer: Writer, module: nn.Embedding) -> Stage:
    """Add what looks a token up."""
    if module.max_norm is not None:
        raise OptionError("export: an Embedding with max_norm changes its rows", "export without")
    body = writer.body()
    table = body.source.matrix(f"{body.name}_table", module.weight, is_table=True)
    body.lines.append(f"embed({table}, m->token, out);")
    return Stage(body.end(), None, module.embedding_dim)


# ---- Dense ---------------------------------------------------------------------------------------


def _linear(body: Body, module: Any, weight: Tensor, read: str, out: str, name: str) -> None:
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
    if isinstance(module, Dense):
        return add_sequential(writer, module.network, module.input_size)
    body = writer.body()
    ring = body.source.state(module.receptive_field * module.input_size)
    size = _convolution(body, module.conv, "in", "out", "conv", ring)
    stage = Stage(body.end(), None, size)
    return [stage, *add_sequential(writer, module.network, size)]


# ---- Convolutions --------------------------------------------------------------------------------


def _convolution(body: Body, conv: Any, read: str, out: str, name: str, ring: str) -> int:
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


# ---- Several parts -------------------------------------------------------------------------------


def _add_both(writer: Writer, module: BothDirections, size: int, one_hot: bool) -> list[Stage]:
    """Add two layers of one kind, of which one reads from the end: as one stage."""
    names = []
    for each in (module.forwards, module.backwards):
        assert isinstance(each, nn.Module)
        stages = add_module(writer, each, size, one_hot=one_hot)
        names.append(chained(writer, stages))
    return [Stage(names[0], names[1], module.forwards.output_size)]


def chained(writer: Writer, stages: Sequence[Stage]) -> str:
    """Return the name of one function that runs several."""
    body = writer.body()
    read = "in"
    for number, stage in enumerate(stages):
        is_last = number == len(stages) - 1
        out = "out" if is_last else body.source.state(stage.output_size)
        body.lines.append(f"{stage.ahead}(m, {read}, {out});")
        read = out
    return body.end()
