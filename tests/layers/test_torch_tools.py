"""What torch offers to do to a layer's weights, done to ours and to torch's: the same training."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.utils import parameters_to_vector, parametrizations, prune, vector_to_parameters
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import unrolled


def averaged(layer):
    average = AveragedModel(layer, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for _ in range(2):
        losses_of(layer)
        average.update_parameters(layer)
    return average


def assigned(layer):
    with torch.device("meta"):
        empty = type(layer)(3, 4)
    empty.load_state_dict(layer.state_dict(), assign=True)
    return empty


def materialised(layer):
    empty = type(layer)(3, 4, device="meta").to_empty(device="cpu")
    torch.manual_seed(1)
    empty.reset_parameters()
    return empty


def dropped(layer):
    """Weight dropping: a plain tensor, computed from a parameter, in a weight's place."""
    raw = nn.Parameter(layer.weight_hh_l0.detach())
    del layer.weight_hh_l0
    layer.weight_hh_raw = raw
    layer.register_forward_pre_hook(lambda one, _: setattr(one, "weight_hh_l0", raw * 0.5))
    return layer


def tied(layer):
    layer.bias_hh_l0 = layer.bias_ih_l0
    return layer


def frozen(layer):
    layer.weight_ih_l0.requires_grad_(False)
    layer.bias_hh_l0.requires_grad_(False)
    return layer


def scaled_as_a_vector(layer):
    vector_to_parameters(parameters_to_vector(layer.parameters()) * 0.5, layer.parameters())
    return layer


def with_doubled_input(layer):
    layer.register_forward_pre_hook(lambda _, arguments: (arguments[0] * 2, *arguments[1:]))
    layer.register_forward_hook(lambda _, __, result: (result[0] * 0.5, result[1]))
    return layer


TOOLS = {
    "weight_norm": lambda layer: parametrizations.weight_norm(layer, "weight_hh_l0"),
    "orthogonal": lambda layer: parametrizations.orthogonal(layer, "weight_hh_l0"),
    "pruning": lambda layer: prune.l1_unstructured(layer, "weight_hh_l0", 0.5),
    "hooks": with_doubled_input,
    "vector": scaled_as_a_vector,
    "weight drop": dropped,
    "frozen weights": frozen,
    "tied weights": tied,
    "average": averaged,
    "assign": assigned,
    "to_empty": materialised,
    "share_memory": lambda layer: layer.share_memory(),
    "deepcopy": copy.deepcopy,
}


def losses_of(layer):
    """The loss before each of three steps of training."""
    torch.manual_seed(2)
    x, losses = torch.randn(5, 3, 3), []
    weights = [weight for weight in layer.parameters() if weight.requires_grad]
    optimiser = torch.optim.SGD(weights, lr=0.01)
    for _ in range(3):
        optimiser.zero_grad()
        output, _ = layer(x)
        loss = (output - 1).square().sum()
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    assert losses[-1] < losses[0]
    return torch.stack(losses)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("tool", TOOLS)
def test_a_layer_trains_as_that_of_torch(name, tool):
    losses = []
    for module in (torch.nn, unrolled):
        torch.manual_seed(1)
        layer = getattr(module, name)(3, 4)
        losses.append(losses_of(TOOLS[tool](layer)))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=0)


def test_spectral_normalisation_bounds_the_recurrence():
    layer = unrolled.GRU(3, 4)
    nn.init.normal_(layer.weight_hh_l0, std=5.0)
    parametrizations.spectral_norm(layer, "weight_hh_l0", n_power_iterations=50)
    assert torch.linalg.matrix_norm(layer.weight_hh_l0, 2) <= 1.0 + 1e-4
    losses_of(layer)


@pytest.mark.parametrize("num_steps", [1, 600])
def test_a_profiler_sees_a_layer_with_its_cell_and_sizes(num_steps):
    layer = unrolled.GRU(3, 4)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        layer(torch.zeros(num_steps, 2, 3))
    names = {event.key for event in profile.key_averages()}
    assert f"unrolled::{layer.cell.name} ({num_steps}, 2, 3) -> 4" in names


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "TCN"])
def test_a_trace_that_is_refused_leaves_the_next_one_alone(name):
    """Of weights from outside: sizes that torch had noted ended the process."""
    x, layer = torch.randn(5, 2, 3), getattr(unrolled, name)(3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            with pytest.raises(RuntimeError, match="requires grad as a constant"):
                torch.jit.trace(lambda q: layer(q), x, check_trace=False)
        twice = torch.jit.trace(lambda q: q.view(q.shape[0], -1) * 2, x)
    torch.testing.assert_close(twice(x), x.view(5, -1) * 2)


# ---- Several processes, of which one is here ---------------------------------------------------


@unrolled.cell(gates="f g", keeps="f")
def leaky(x, u, h):
    f = torch.sigmoid(x.f + u.f)
    return dict(h=f * h + (1 - f) * torch.tanh(x.g + u.g))


RECURRENT = {
    "RNN": lambda: unrolled.RNN(5, 7),
    "LSTM": lambda: unrolled.LSTM(5, 7, 2),
    "GRU": lambda: unrolled.GRU(5, 7),
    "JANET": lambda: unrolled.JANET(5, 7),
    "own": lambda: unrolled.Recurrent(leaky, 5, 7),
}


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    store = torch.distributed.FileStore(str(tmp_path_factory.mktemp("group") / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


def output_of(layer, *arguments, **options):
    result = layer(*arguments, **options)
    return result[0] if isinstance(result, tuple) else result


@pytest.mark.parametrize("name", [*RECURRENT, "TCN"])
def test_a_sharded_layer_trains_as_a_plain_one(one_process, name):
    layer = unrolled.TCN(5, 7) if name == "TCN" else RECURRENT[name]()
    sharded, x = nn.Sequential(copy.deepcopy(layer)), torch.randn(6, 3, 5)
    fully_shard(sharded, mesh=one_process)
    expected, output = output_of(layer, x), output_of(sharded, x)
    assert torch.equal(output, expected)
    expected.sum().backward()
    output.sum().backward()
    for ours, plain in zip(sharded.parameters(), layer.parameters(), strict=True):
        assert torch.equal(ours.grad.full_tensor(), plain.grad)


@pytest.mark.parametrize("name", RECURRENT)
def test_a_process_whose_rows_are_all_empty_has_gradients_of_zero(one_process, name):
    """Where they were None, DDP's other processes would wait for ever."""
    wrapped = nn.parallel.DistributedDataParallel(RECURRENT[name]())
    for x, options in (
        (torch.randn(6, 3, 5), {"lengths": torch.zeros(3, dtype=torch.long)}),
        (torch.randn(6, 0, 5), {}),
    ):
        output_of(wrapped, x, **options).sum().backward()
        assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in wrapped.parameters())
        wrapped.zero_grad()
