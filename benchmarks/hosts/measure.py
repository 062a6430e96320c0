"""One host in its own environment: whether its numbers stay, and how its time changes.

Run by `run.py`. A host has `make()`, a model; `call(model)`, what its users do with it, whose
tensors are compared and timed; and, where it trains, `loss(model)`. Everything random is in `make`,
or drawn from a seed.
"""

import importlib
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

import unrolled

STEPS = 10


def distance(ours: Any, theirs: Any) -> float:
    """Return the greatest relative norm of a difference among the tensors of two results."""
    pairs = zip(tensors(ours), tensors(theirs), strict=True)
    return max(float((a - b).norm() / b.norm().clamp(min=1e-12)) for a, b in pairs)


def tensors(tree: Any) -> list[Tensor]:
    """Return what is to be compared of a result: its tensors of numbers that may differ."""
    leaves = (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
    return [leaf.detach().double() for leaf in leaves if leaf.is_floating_point()]


def parameters(model: nn.Module) -> Tensor:
    """Return all parameters as one vector."""
    return torch.cat([p.detach().double().flatten() for p in model.parameters()])


def train_step(host: Any, model: nn.Module) -> Callable[[], None]:
    """Return a function that makes one update."""
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)

    def step() -> None:
        optimiser.zero_grad()
        torch.manual_seed(7)  # of dropout, and of what is drawn
        host.loss(model).backward()
        optimiser.step()

    return step


def ratio(first: Callable[[], Any], second: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Return how many times the time of the first is that of the second, in turns."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    begin = time.perf_counter()
    first()
    number = max(1, int(0.2 / (time.perf_counter() - begin)))
    second()
    times: list[list[float]] = [[], []]
    for _ in range(repeats):
        for function, of_function in zip((first, second), times, strict=True):
            begin = clock()
            for _ in range(number):
                function()
            of_function.append((clock() - begin) / number)
    ratios = [a / b for a, b in zip(*times, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "before_ms": round(1e3 * statistics.median(times[0]), 3),
        "after_ms": round(1e3 * statistics.median(times[1]), 3),
        "ratio": round(middle, 2),
        "low": round(low, 2),
        "high": round(high, 2),
    }


def recurrent_share(model: nn.Module, call: Callable[[], Any]) -> float:
    """Return what part of a call's time is spent in recurrent layers."""
    spent, begins = [0.0], []
    kinds = (nn.RNNBase, nn.modules.rnn.RNNCellBase)
    handles = []
    for module in model.modules():
        if isinstance(module, kinds):
            handles += [
                module.register_forward_pre_hook(lambda *_: begins.append(time.process_time())),
                module.register_forward_hook(
                    lambda *_: spent.__setitem__(0, spent[0] + time.process_time() - begins.pop())
                ),
            ]
    begin = time.process_time()
    for _ in range(5):
        call()
    total = time.process_time() - begin
    for handle in handles:
        handle.remove()
    return round(spent[0] / total, 3)


def training_share(host: Any, model: nn.Module, step: Callable[[], None]) -> float:
    """Return what part of an update's time is spent in recurrent layers.

    Each call of such a layer is made again by itself, forwards and backwards, with what it read.
    """
    again = []

    def keep(layer: nn.Module, read: tuple[Any, ...], options: dict[str, Any], _: Any) -> None:
        read, options = tree_map(detached, (read, options))
        again.append(lambda: layer(*read, **options))

    kinds = (nn.RNNBase, nn.modules.rnn.RNNCellBase)
    layers = [module for module in model.modules() if isinstance(module, kinds)]
    handles = [layer.register_forward_hook(keep, with_kwargs=True) for layer in layers]
    host.loss(model)
    for handle in handles:
        handle.remove()

    def recurrent() -> None:
        for call in again:
            outputs = tensors_of_gradients(call())
            torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])

    seconds = []
    for function in (recurrent, step):
        function()
        begin = time.process_time()
        for _ in range(3):
            function()
        seconds.append(time.process_time() - begin)
    return round(seconds[0] / seconds[1], 3)


def detached(leaf: Any) -> Any:
    """Return a tensor as one that was made by nothing, and needs a gradient as before."""
    if not isinstance(leaf, Tensor):
        return leaf
    return leaf.detach().requires_grad_(leaf.requires_grad)


def tensors_of_gradients(tree: Any) -> list[Tensor]:
    """Return the tensors of a layer's results that have a gradient."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and leaf.requires_grad]


def quantised(model: nn.Module) -> nn.Module:
    """Return a copy whose recurrent layers are torch's own of int8, made by `quantize_dynamic`."""
    kinds = {nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell, nn.RNNCell}
    return torch.ao.quantization.quantize_dynamic(model, kinds)


def measure_smaller(host: Any, model: nn.Module, fast: nn.Module, repeats: int) -> dict[str, Any]:
    """Return what torch's quantisation makes of the model: its time to ours, its difference."""
    try:
        theirs = quantised(model)
        expected = host.call(model)
        return {
            "quantize_dynamic": ratio(lambda: host.call(theirs), lambda: host.call(fast), repeats),
            "its_difference": distance(host.call(theirs), expected),
        }
    except Exception as error:  # of torch: old weight norm cannot be copied
        return {"quantize_dynamic": f"{type(error).__name__}: {error}"}


def main(name: str, threads: int, repeats: int, weights: Any = "f32") -> None:
    """Print the figures of a host as one line of JSON."""
    warnings.simplefilter("ignore")
    host = importlib.import_module(name)
    torch.set_num_threads(threads)
    models = []
    for _ in range(2):  # not a copy: old weight norm cannot be copied
        torch.manual_seed(0)
        models.append(host.make())
    model, fast = models
    fast.load_state_dict(model.state_dict())
    _, report = unrolled.accelerate(fast, weights=weights)
    result: dict[str, Any] = {"threads": threads, "on_kernels": len(report.on_kernels)}
    if weights != "f32":
        result["weights"] = weights
    result["left_alone"] = report.left_alone
    with torch.no_grad():
        for one in (model, fast):
            one.eval()
        result["difference"] = distance(host.call(fast), host.call(model))
        if threads == 1:
            result["recurrent_share"] = recurrent_share(model, lambda: host.call(model))
        result["call"] = ratio(lambda: host.call(model), lambda: host.call(fast), repeats)
        if weights != "f32":
            result |= measure_smaller(host, model, fast, repeats)
    if weights == "f32" and hasattr(host, "loss"):
        for one in (model, fast):
            one.train()
            one.requires_grad_(True)
        steps = [train_step(host, one) for one in (model, fast)]
        steps[0](), steps[1]()
        gradients = [
            [p.grad for p in one.parameters() if p.grad is not None] for one in (fast, model)
        ]
        vectors = [torch.cat([gradient.flatten() for gradient in one]) for one in gradients]
        result["gradient_difference"] = distance(*vectors)
        for _ in range(STEPS - 1):
            steps[0](), steps[1]()
        result["trained_difference"] = distance(parameters(fast), parameters(model))
        result["training"] = ratio(*steps, repeats)
        if threads == 1:
            result["training_share"] = training_share(host, model, steps[0])
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
