"""What torch.autograd, torch.func and their tools do with a layer: the numbers of torch.nn."""

import copy
import io
import shutil
import threading
import warnings

import pytest
import torch
from torch import func, nn
from torch.autograd import forward_ad, functional, graph
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import unrolled
from unrolled.kernels import using_path

pytestmark = [
    pytest.mark.skipif(
        not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
    ),
    pytest.mark.filterwarnings("ignore"),  # torch's own, of what is a prototype
]
FEATURES = {}


def feature(function):
    FEATURES[function.__name__] = function
    return function


def run(layer, x):
    return layer(x)[0]


def loss(layer, x):
    output, state = layer(x)
    parts = state if isinstance(state, tuple) else (state,)
    return output.square().sum() + sum(part.sum() for part in parts)


def sources(layer, x):
    return [x, *layer.parameters()]


def weights_of(layer):
    return {name: weight.detach() for name, weight in layer.named_parameters()}


def loss_of_weights(layer):
    return lambda weights, x: func.functional_call(layer, weights, (x,))[0].square().sum()


# ---- Many gradients at once, and gradients of gradients ------------------------------------------


@feature
def batched_gradients(layer, x):
    output = run(layer, x)
    many = torch.linspace(-1, 1, 3 * output.numel()).view(3, *output.shape)
    return torch.autograd.grad(output, sources(layer, x), many, is_grads_batched=True)


@feature
def batched_gradients_of_the_state(layer, x):
    state = layer(x)[1]
    last = state[-1] if isinstance(state, tuple) else state
    many = torch.linspace(-1, 1, 3 * last.numel()).view(3, *last.shape)
    return torch.autograd.grad(last, sources(layer, x), many, is_grads_batched=True)


@feature
def jacobian(layer, x):
    return functional.jacobian(lambda q: run(layer, q), x)


@feature
def vectorised_jacobian(layer, x):
    return functional.jacobian(lambda q: run(layer, q), x, vectorize=True)


@feature
def forward_jacobian(layer, x):
    return functional.jacobian(lambda q: run(layer, q), x, vectorize=True, strategy="forward-mode")


@feature
def hessian(layer, x):
    return functional.hessian(lambda q: loss(layer, q), x)


@feature
def vectorised_hessian(layer, x):
    return functional.hessian(lambda q: loss(layer, q), x, vectorize=True)


@feature
def products_with_jacobian_and_hessian(layer, x):
    v, one = torch.ones_like(x), lambda q: loss(layer, q)
    return [
        *(functional.hvp(one, x, v)[1], functional.vhp(one, x, v)[1]),
        *(functional.jvp(one, x, v)[1], functional.vjp(one, x)[1]),
    ]


@feature
def gradient_penalty(layer, x):
    first = torch.autograd.grad(loss(layer, x), sources(layer, x), create_graph=True)
    return torch.autograd.grad(sum(g.square().sum() for g in first), sources(layer, x))


@feature
def third_derivative(layer, x):
    (first,) = torch.autograd.grad(loss(layer, x), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x, create_graph=True)
    return torch.autograd.grad(second.square().sum(), x)


# ---- torch.func ----------------------------------------------------------------------------------


@feature
def func_grad(layer, x):
    return func.grad(loss_of_weights(layer))(weights_of(layer), x)


@feature
def func_vjp_and_jvp(layer, x):
    output, pull = func.vjp(lambda q: run(layer, q), x)
    _, pushed = func.jvp(lambda q: run(layer, q), (x,), (torch.ones_like(x),))
    return [output, *pull(torch.ones_like(output)), pushed]


@feature
def func_jacobians(layer, x):
    return [way(lambda q: run(layer, q))(x) for way in (func.jacrev, func.jacfwd)]


@feature
def func_hessian(layer, x):
    return func.hessian(lambda q: loss(layer, q))(x)


@feature
def gradients_of_each_sample(layer, x):
    return func.vmap(
        lambda row: func.grad(loss_of_weights(layer))(weights_of(layer), row[:, None]), in_dims=1
    )(x)


@feature
def an_ensemble(layer, x):
    weights, _ = func.stack_module_state([layer, copy.deepcopy(layer)])
    return func.vmap(lambda w: func.functional_call(layer, w, (x,))[0])(weights)


@feature
def linearised(layer, x):
    output, push = func.linearize(lambda q: run(layer, q), x)
    return [output, push(torch.ones_like(x))]


@feature
def compiled_func_grad(layer, x):
    torch._dynamo.reset()
    compiled = torch.compile(func.grad(loss_of_weights(layer)), backend="aot_eager")
    return compiled(weights_of(layer), x.detach())


# ---- Forward mode --------------------------------------------------------------------------------


@feature
def dual_input(layer, x):
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        return forward_ad.unpack_dual(run(layer, dual)).tangent


@feature
def dual_weights(layer, x):
    tangents = {name: torch.ones_like(w) for name, w in layer.named_parameters()}
    with forward_ad.dual_level():
        duals = {
            name: forward_ad.make_dual(w.detach(), tangents[name])
            for name, w in layer.named_parameters()
        }
        return forward_ad.unpack_dual(func.functional_call(layer, duals, (x,))[0]).tangent


@feature
def dual_gradient(layer, x):
    output = run(layer, x)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.ones_like(output), torch.ones_like(output))
        (gradient,) = torch.autograd.grad(output, x, dual)
        return forward_ad.unpack_dual(gradient).tangent


# ---- What is kept, and when it runs again --------------------------------------------------------


@feature
def checkpoint_again(layer, x):
    checkpoint(lambda q: run(layer, q), x, use_reentrant=False).square().sum().backward()


@feature
def checkpoint_reentrant(layer, x):
    checkpoint(lambda q: run(layer, q), x, use_reentrant=True).square().sum().backward()


@feature
def kept_on_cpu(layer, x):
    with graph.save_on_cpu():
        total = loss(layer, x)
    total.backward()


@feature
def kept_in_a_file(layer, x):
    def pack(tensor):
        file = io.BytesIO()
        torch.save(tensor, file)
        return file

    def unpack(file):
        file.seek(0)
        return torch.load(file)

    with graph.saved_tensors_hooks(pack, unpack):
        total = loss(layer, x)
    total.backward()


@feature
def graph_kept_for_three_passes(layer, x):
    total = loss(layer, x)
    for keep in (True, True, False):
        total.backward(retain_graph=keep)


@feature
def inputs_changed_where_that_is_allowed(layer, x):
    start = x * 1
    with graph.allow_mutation_on_saved_tensors():
        total = loss(layer, start)
        start.zero_()
        total.backward()


# ---- Outputs that are written over ---------------------------------------------------------------


@feature
def relu_in_place(layer, x):
    nn.ReLU(inplace=True)(run(layer, x)).sum().backward()


@feature
def output_added_to(layer, x):
    output = run(layer, x)
    output += 1
    output.square().sum().backward()


@feature
def output_masked(layer, x):
    output = run(layer, x)
    output[output > 0] = 0
    output.square().sum().backward()


@feature
def last_step_zeroed(layer, x):
    output, state = layer(x)
    output[-1].zero_()
    (output.square().sum() + sum(s.sum() for s in state)).backward()


@feature
def state_changed_in_place(layer, x):
    output, state = layer(x)
    part = state[0] if isinstance(state, tuple) else state
    part.mul_(2)
    (output.square().sum() + part.sum()).backward()


# ---- Hooks ---------------------------------------------------------------------------------------


@feature
def hooks_of_tensors(layer, x):
    seen = []
    output = run(layer, x * 1)
    output.register_hook(lambda g: g * 2)
    output.retain_grad()
    layer.weight_hh_l0.register_hook(lambda g: g.clamp(-0.1, 0.1))
    layer.weight_ih_l0.register_post_accumulate_grad_hook(lambda w: seen.append(w.grad.clone()))
    output.square().sum().backward()
    return [output.grad, *seen]


@feature
def hooks_of_modules(layer, x):
    seen = []
    layer.register_full_backward_pre_hook(lambda _, g: (g[0] * 2, *g[1:]))
    layer.register_full_backward_hook(lambda _, given, __: seen.append(given[0]))
    layer(x)[0].square().sum().backward()
    return seen


@feature
def hooks_of_nodes(layer, x):
    seen = []
    output = run(layer, x)
    output.grad_fn.register_prehook(lambda g: (g[0] * 2, *g[1:]))
    graph.register_multi_grad_hook(tuple(layer.parameters()), lambda g: seen.extend(g))
    output.square().sum().backward()
    return seen


@feature
def gradient_at_an_edge(layer, x):
    output = run(layer, x * 1)
    edge = graph.get_gradient_edge(output)
    return torch.autograd.grad(output.square().sum(), [edge, *layer.parameters()])


# ---- Some of the gradients -----------------------------------------------------------------------


@feature
def only_some_inputs(layer, x):
    loss(layer, x).backward(inputs=[layer.weight_hh_l0])
    return [layer.weight_hh_l0.grad, torch.tensor(x.grad is None)]


@feature
def only_the_state(layer, x):
    state = layer(x)[1]
    return torch.autograd.grad((state[-1] if isinstance(state, tuple) else state).sum(), x)


@feature
def frozen_weights(layer, x):
    layer.requires_grad_(False)
    return torch.autograd.grad(loss(layer, x), x)


@feature
def gradient_of_zero(layer, x):
    torch.sgn(run(layer, x)).sum().backward()


@feature
def gradient_that_is_expanded(layer, x):
    run(layer, x).sum().backward()


@feature
def gradients_that_add_up(layer, x):
    for _ in range(3):
        loss(layer, x).backward()


# ---- Who looks on --------------------------------------------------------------------------------


@feature
def anomaly_detection(layer, x):
    with torch.autograd.detect_anomaly():
        loss(layer, x).backward()


@feature
def traced_by_make_fx(layer, x):
    traced = make_fx(lambda q: run(layer, q))(x.detach())
    return traced(x.detach() * 2)


@feature
def gradient_traced_by_make_fx(layer, x):
    def gradient(q):
        return torch.autograd.grad(run(layer, q).square().sum(), q)[0]

    return make_fx(gradient)(x.detach().requires_grad_())((x.detach() * 2).requires_grad_())


@feature
def counted_operations(layer, x):
    with FlopCounterMode(display=False) as counter:
        loss(layer, x).backward()
    return torch.tensor(counter.get_total_flops() > 0)


class Counting(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.operations += 1
        return function(*args, **(kwargs or {}))


@feature
def a_mode_that_watches_the_backward_pass(layer, x):
    total = loss(layer, x)
    with Counting() as counting:
        total.backward()
    return torch.tensor(counting.operations > 0)


@feature
def a_mode_of_functions(layer, x):
    class Watching(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            return function(*args, **(kwargs or {}))

    with Watching(), torch.device("cpu"):
        loss(layer, x).backward()


@feature
def a_profiler(layer, x):
    with torch.profiler.profile():
        loss(layer, x).backward()


@feature
def traced_by_jit(layer, x):
    traced = torch.jit.trace(layer, x.detach())
    output, _ = traced(torch.cat([x, x, x])[:, :1])
    output.square().sum().backward()


@feature
def backward_from_other_threads(layer, x):
    total = loss(layer, x)
    threads = [threading.Thread(target=lambda: total.backward(retain_graph=True)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@feature
def number_of_threads_changed_between_the_passes(layer, x):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        total = loss(layer, x)
        torch.set_num_threads(2)
        total.backward()
    finally:
        torch.set_num_threads(before)


@feature
def scaled_losses(layer, x):
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    scaler.scale(loss(layer, x)).backward()
    scaler.unscale_(torch.optim.SGD(layer.parameters(), lr=0.1))


def results_of(module, name, function, **options):
    torch.manual_seed(0)
    layer = getattr(module, name)(3, 4, **options)
    x = torch.linspace(-1, 1, 5 * 2 * 3).view(5, 2, 3).requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        returned = function(layer, x)
    leaves = torch.utils._pytree.tree_leaves(returned)
    found = [leaf for leaf in leaves if leaf is not None]
    return found + [t.grad for t in sources(layer, x) if t.grad is not None]


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("function", FEATURES.values(), ids=list(FEATURES))
def test_a_layer_gives_what_that_of_torch_gives(function, name):
    """Where torch's cannot do it, what the reference loop gives, which is made of torch's ops."""
    try:
        expected = results_of(nn, name, function)
    except (RuntimeError, NotImplementedError):
        with using_path("reference"):
            expected = results_of(unrolled, name, function)
    assert expected
    got = results_of(unrolled, name, function)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["JANET", "GRU", "LSTM"])
@pytest.mark.parametrize("lengths", [[5, 3], [0, 0], [2, 5]])
def test_every_weight_has_a_gradient_whatever_the_lengths(name, lengths):
    """Processes that train together wait for each other's, one for each weight."""
    for options in ({}, {"num_layers": 2, "bidirectional": True}):
        layer = getattr(unrolled, name)(3, 4, **options)
        for part in (0, 1):
            layer.zero_grad()
            result = layer(torch.randn(5, 2, 3), lengths=lengths)[part]
            sum(
                one.sum() for one in (result if isinstance(result, tuple) else (result,))
            ).backward()
            assert all(weight.grad is not None for weight in layer.parameters())
