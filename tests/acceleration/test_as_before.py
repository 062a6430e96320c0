"""What was done with a model goes on as before once its layers are accelerated."""

import copy
import io
import pickle
import warnings
import weakref
from abc import ABC

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._pytree import tree_leaves

import unrolled
from unrolled.acceleration.classes import is_accelerated
from unrolled.acceleration.sequences import read_sequences


class Model(nn.Module):
    """A layer and a cell inside a model."""

    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(3, 4, 2, batch_first=True)
        self.cell = nn.GRUCell(4, 5)
        self.register_buffer("scale", torch.ones(5))

    def forward(self, x):
        """Read (B, T, 3), and return (B, 5)."""
        output, _ = self.layer(x)
        return self.cell(output[:, -1]) * self.scale


def models():
    """A model as it was, and an accelerated one with the same weights."""
    torch.manual_seed(0)
    model = Model()
    fast, report = unrolled.accelerate(copy.deepcopy(model))
    assert list(report.on_kernels) == ["layer", "cell"]
    return model, fast


def x():
    torch.manual_seed(1)
    return torch.randn(2, 6, 3)


def assert_same(fast, model):
    torch.testing.assert_close(fast(x()), model(x()), rtol=1e-5, atol=1e-6)


# ---- What it is ----------------------------------------------------------------------------------


def test_it_is_the_same_object_with_the_same_parameters_buffers_and_names():
    model = Model()
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    modules, state = dict(model.named_modules()), model.state_dict()
    attributes = {name: dict(vars(module)) for name, module in modules.items()}
    returned, _ = unrolled.accelerate(model)
    assert returned is model
    assert list(dict(model.named_parameters()).items()) == list(parameters.items())
    assert list(dict(model.named_buffers())) == list(buffers)
    assert dict(model.named_modules()) == modules
    assert list(model.state_dict()) == list(state)
    assert {name: dict(vars(module)) for name, module in modules.items()} == attributes
    model(x())
    assert {name: set(vars(module)) for name, module in modules.items()} == {
        name: set(values) for name, values in attributes.items()
    }
    Model().load_state_dict(model.state_dict())
    model.load_state_dict(Model().state_dict())


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_its_type_reads_as_torchs(kind):
    layer, _ = unrolled.accelerate(kind(3, 4))
    assert isinstance(layer, kind)
    assert type(layer) == kind  # noqa: E721  # as code that sets up weights has it
    assert kind == type(layer)  # noqa: E721
    assert type(layer) in {kind: 1}
    assert kind in {type(layer): 1}
    assert type(layer) != nn.Linear  # noqa: E721
    others = [other for other in (nn.RNN, nn.LSTM, nn.GRU, nn.LSTMCell) if other is not kind]
    assert not {type(layer)} & set(others)
    assert (type(layer).__name__, type(layer).__module__) == (kind.__name__, kind.__module__)
    assert repr(layer) == repr(kind(3, 4))


def test_layers_of_one_class_share_one_accelerated_class():
    first, second = (unrolled.accelerate(nn.LSTM(3, 4))[0] for _ in range(2))
    assert type(first) is type(second)


def test_subclasses_are_taken_and_stay_what_they_are():
    class Mine(nn.LSTM, ABC):
        def last(self, x):
            return self(x)[0][-1]

    layer = Mine(3, 4)
    before = layer.last(torch.ones(5, 2, 3))
    layer, report = unrolled.accelerate(layer)
    assert report.on_kernels == {"": "Mine(3, 4)"}
    assert isinstance(layer, Mine)
    assert type(layer) == Mine  # noqa: E721
    torch.testing.assert_close(layer.last(torch.ones(5, 2, 3)), before)
    assert type(unrolled.restore(layer)) is Mine


def test_layers_that_are_equal_are_each_taken_and_restored():
    class Equal(nn.GRU):
        def __eq__(self, other):
            return type(other) is type(self)

        def __hash__(self):
            return 0

    model = nn.Sequential(Equal(3, 4), Equal(3, 4))
    assert len([*model.modules()]) == 2  # torch's own walk takes both for one
    _, report = unrolled.accelerate(model)
    assert report.on_kernels.keys() == {"0", "1"}
    unrolled.restore(model)
    assert not any(map(is_accelerated, model))


# ---- What is done with it ------------------------------------------------------------------------


def test_optimisers_and_averages_made_before_go_on():
    results = []
    for accelerate_at in (None, 2):
        torch.manual_seed(0)
        model = Model()
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
        for step in range(5):
            if step == accelerate_at:
                unrolled.accelerate(model)
                unrolled.accelerate(average)
            optimiser.zero_grad()
            model(x()).square().sum().backward()
            optimiser.step()
            average.update_parameters(model)
        results.append([*model.parameters(), *average.parameters(), average(x())])
    for ours, torchs in zip(*reversed(results), strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-4, atol=1e-6)


def test_hooks_go_on_and_may_change_what_a_layer_reads_and_says():
    model, fast = models()
    for one in (model, fast):
        seen = []
        one.layer.register_forward_pre_hook(lambda _, args: (args[0] * 2, *args[1:]))
        one.layer.register_forward_hook(lambda _, __, result: (result[0] + 1, result[1]))
        one.cell.register_full_backward_hook(lambda *_, seen=seen: seen.append("backward"))
        one(x()).sum().backward()
        assert seen == ["backward"]
    assert_same(fast, model)


def test_hooks_registered_before_go_on():
    model = nn.GRU(3, 4)
    handle = model.register_forward_hook(lambda *_: "hooked")
    unrolled.accelerate(model)
    assert model(torch.zeros(2, 1, 3)) == "hooked"
    handle.remove()
    assert model(torch.zeros(2, 1, 3))[0].shape == (2, 1, 4)


@pytest.mark.parametrize("way", ["deepcopy", "pickle", "pickle 2", "torch.save", "copy"])
def test_copies_are_equal_and_accelerated(way):
    model, fast = models()
    fast.layer.note = [1]
    if way == "deepcopy":
        again = copy.deepcopy(fast)
    elif way == "copy":
        again = copy.copy(fast)
    elif way == "torch.save":
        file = io.BytesIO()
        torch.save(fast, file)
        file.seek(0)
        again = torch.load(file, weights_only=False)
    else:
        again = pickle.loads(pickle.dumps(fast, protocol=2 if "2" in way else None))
    assert is_accelerated(again.layer)
    assert type(again.layer) is type(fast.layer)
    assert again.layer.note == [1]
    assert_same(again, model)
    if way != "copy":
        with torch.no_grad():
            again.layer.weight_ih_l0.zero_()
        assert_same(fast, model)
        assert not torch.allclose(again(x()), model(x()))
    unrolled.restore(again)
    assert_same(pickle.loads(pickle.dumps(again)), again)


def test_a_layer_dies_with_its_last_reference():
    layer, _ = unrolled.accelerate(nn.LSTM(3, 4))
    layer(torch.zeros(2, 1, 3))
    reference = weakref.ref(layer)
    del layer
    assert reference() is None


def test_data_parallel_training_goes_on(tmp_path):
    model, fast = models()
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        gradients = []
        for one in (fast, model):
            wrapped = nn.parallel.DistributedDataParallel(one)
            wrapped(x()).square().sum().backward()
            gradients.append([p.grad for p in one.parameters()])
    finally:
        torch.distributed.destroy_process_group()
    for ours, torchs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-4, atol=1e-6)
    wrapped, report = unrolled.accelerate(nn.Sequential(fast))
    assert list(report.on_kernels) == ["0.layer", "0.cell"]


def test_compiled_models_go_on():
    model, fast = models()
    torch._dynamo.reset()
    compiled = torch.compile(fast, backend="eager")
    torch.testing.assert_close(compiled(x()), model(x()), rtol=1e-5, atol=1e-6)
    whole = torch.compile(fast.cell, backend="eager", fullgraph=True)
    torch.testing.assert_close(whole(torch.ones(2, 4)), model.cell(torch.ones(2, 4)))


def test_in_a_compiled_model_layers_run_on_kernels(monkeypatch):
    _, fast = models()
    torch._dynamo.reset()
    compiled = torch.compile(fast, backend="eager")
    with torch.no_grad(), torch.profiler.profile(acc_events=True) as profile:
        compiled(x())
    names = {event.key for event in profile.key_averages()}
    assert "aten::lstm" not in names


def test_exported_programs_are_as_before():
    model, fast = models()
    for strict in (False, True):
        graphs = []
        for one in (fast, model):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's, of the list of its weights
                program = torch.export.export(one, (x(),), strict=strict)
            torch.testing.assert_close(program.module()(x()), model(x()), rtol=1e-5, atol=1e-6)
            graphs.append(program.graph_module.code)
        assert graphs[0] == graphs[1]


@pytest.mark.parametrize("dynamo", [False, True])
def test_onnx_files_are_as_before(dynamo):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    model, fast = models()
    operators = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in (fast, model):
            file = io.BytesIO()
            program = torch.onnx.export(one.eval(), (x(),), file, dynamo=dynamo, verbose=False)
            proto = program.model_proto if dynamo else onnx.load_from_string(file.getvalue())
            operators.append([node.op_type for node in proto.graph.node])
    assert operators[0] == operators[1]
    assert "LSTM" in operators[0]


def test_dynamic_quantisation_goes_on():
    model, fast = models()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = []
        for one in (fast, model):
            quantised = torch.ao.quantization.quantize_dynamic(one, {nn.LSTM, nn.GRUCell})
            assert type(quantised.layer) is torch.ao.nn.quantized.dynamic.LSTM
            assert type(quantised.cell) is torch.ao.nn.quantized.dynamic.GRUCell
            results.append(quantised(x()))
    assert torch.equal(*results)
    assert_same(fast, model)


def test_quantising_other_layers_leaves_those_on_kernels():
    model, _ = unrolled.accelerate(nn.Sequential(nn.LSTM(3, 4)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    assert is_accelerated(quantised[0])
    with pytest.raises(AttributeError, match="qconfig"):
        del quantised[0].qconfig


@pytest.mark.parametrize("first", ["accelerate", "parametrise"])
def test_parametrisations_go_on_in_either_order(first):
    model, fast = models()
    if first == "parametrise":
        unrolled.restore(fast)
    for one in (fast, model):
        parametrizations.weight_norm(one.layer, "weight_hh_l0")
        parametrizations.orthogonal(one.cell, "weight_hh")
    copied = copy.deepcopy(fast)  # before the layer itself: they share a class
    unrolled.accelerate(fast)
    assert read_sequences(fast.layer, x(), None) is not None
    assert is_accelerated(copied.layer) == (first == "accelerate")
    assert_same(copied, model)
    for one in (fast, model):
        one.train()
        optimiser = torch.optim.SGD(one.parameters(), lr=0.1)
        for _ in range(3):
            optimiser.zero_grad()
            one(x()).square().sum().backward()
            optimiser.step()
    assert_same(fast, model)
    for one in (fast, model):
        assert parametrize.is_parametrized(one.layer)
        parametrize.remove_parametrizations(one.layer, "weight_hh_l0")
    assert is_accelerated(fast.layer)
    assert_same(fast, model)
    unrolled.restore(fast)
    assert type(fast.layer) is nn.LSTM
    assert_same(fast, model)
    assert not is_accelerated(fast.cell)
    parametrize.remove_parametrizations(fast.cell, "weight_hh")
    assert type(fast.cell) is nn.GRUCell


def test_old_weight_norm_pruning_and_replaced_weights_go_on():
    model, fast = models()
    for one in (fast, model):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.nn.utils.weight_norm(one.layer, "weight_hh_l1")
        prune.l1_unstructured(one.layer, "weight_ih_l0", 0.5)
        prune.l1_unstructured(one.cell, "weight_ih", 0.5)
        one(x()).square().sum().backward()
        with torch.no_grad():
            for parameter in one.parameters():
                parameter.sub_(0.1 * parameter.grad)
        one.layer.bias_ih_l0 = nn.Parameter(torch.full((16,), 0.5))
        one.cell.bias_hh = one.cell.bias_ih
    assert_same(fast, model)
    for one in (fast, model):
        prune.remove(one.layer, "weight_ih_l0")
        one(x())
    assert_same(fast, model)


def test_flat_weights_are_what_a_layer_computes_with():
    model, fast = models()
    for one in (fast, model):
        one.layer.flatten_parameters()
        assert one.layer._flat_weights[0] is one.layer.weight_ih_l0
        torch.manual_seed(3)
        one.layer._flat_weights[0] = torch.randn(16, 3)  # as weight dropping does
    assert_same(fast, model)
    for one in (fast, model):
        one.layer._flat_weights[0] = one.layer.weight_ih_l0
        one.layer.reset_parameters()
    fast.load_state_dict(model.state_dict())
    assert_same(fast, model)
    assert [len(weights) for weights in fast.layer.all_weights] == [4, 4]


def test_moves_to_other_types_and_devices_go_on():
    model, fast = models()
    for kind in (torch.float64, torch.bfloat16):
        for one in (fast, model):
            one.to(kind)
        assert torch.equal(fast(x().to(kind)), model(x().to(kind)))
        for one in (fast, model):
            one.to(torch.float32)
        assert_same(fast, model)
        assert read_sequences(fast.layer, x(), None) is not None
    fast.to("meta")
    assert fast(x().to("meta")).is_meta
    fast.to_empty(device="cpu")
    fast.load_state_dict(model.state_dict())
    assert_same(fast, model)


def test_traced_and_scripted_models_go_on():
    model, fast = models()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(fast, (x(),))
        scripted = torch.jit.script(fast)
    longer = torch.randn(3, 9, 3)
    for compiled in (traced, scripted):
        torch.testing.assert_close(compiled(x()), model(x()))
        torch.testing.assert_close(compiled(longer), model(longer))
    assert is_accelerated(fast.layer)
    assert_same(fast, model)


def test_gradients_may_be_switched_off_and_weights_frozen():
    model, fast = models()
    for one in (fast, model):
        one.layer.weight_hh_l0.requires_grad_(False)
        one(x()).sum().backward()
    assert fast.layer.weight_hh_l0.grad is None
    torch.testing.assert_close(fast.layer.weight_ih_l0.grad, model.layer.weight_ih_l0.grad)
    with torch.inference_mode():
        assert_same(fast, model)
    assert fast.requires_grad_(False)(x()).requires_grad is False


@pytest.mark.parametrize(
    ("kind", "weights"),
    [(nn.RNNCell, "f32"), (nn.LSTMCell, "f32"), (nn.GRUCell, "bf16"), (nn.LSTM, "f32")],
)
def test_weights_made_in_inference_mode_are_torchs_where_a_gradient_is_wanted(kind, weights):
    """Autograd does not keep such tensors: torch's cells do not need it to, its layers raise."""
    with torch.inference_mode():
        layer = kind(30, 40).eval()
        fast, _ = unrolled.accelerate(copy.deepcopy(layer), weights=weights)
    x = torch.ones(20, 30)
    answers = []
    for module in (fast, layer):
        try:
            answers.append(tree_leaves(module(x)))
        except RuntimeError as error:
            answers.append(str(error))
    assert type(answers[0]) is type(answers[1])
    if kind is nn.LSTM:
        assert answers[0] == answers[1]
    else:
        assert all(map(torch.equal, *answers))


def test_symbolic_traces_keep_layers_whole():
    model, fast = models()
    graphs = [torch.fx.symbolic_trace(one) for one in (fast, model)]
    assert graphs[0].code == graphs[1].code
    assert_same(graphs[0], model)


def test_a_layer_used_twice_and_shared_layers_go_on():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = self.second = nn.GRU(3, 3)

        def forward(self, x):
            output, h = self.first(x)
            return self.second(output, h)[0]

    torch.manual_seed(0)
    model = Twice()
    fast, report = unrolled.accelerate(copy.deepcopy(model))
    assert report.on_kernels == {"first": "GRU(3, 3); also second"}
    assert fast.first is fast.second
    gradients = []
    for one in (fast, model):
        one(x()).square().sum().backward()
        gradients.append([p.grad for p in one.parameters()])
    assert_same(fast, model)
    for ours, torchs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-5, atol=1e-6)


def test_results_may_be_written_over_before_the_backward_pass():
    _, fast = models()
    output, _ = fast.layer(x())
    output.mul_(2)
    output.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in fast.layer.parameters())


def test_leaves_of_results_are_tensors_of_their_own():
    _, fast = models()
    given = x()
    before = given.clone()
    with torch.no_grad():
        for leaf in tree_leaves(fast.layer(given)):
            leaf.zero_()
    assert torch.equal(given, before)
