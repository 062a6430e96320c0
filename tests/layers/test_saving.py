"""Copies and files of layers, states and streams: what comes back goes on with the same bits."""

import copy
import io
import pickle

import pytest
import torch

import unrolled
from unrolled.layers import state_tensors
from unrolled.networks.memoryless import Conv, Dense

LAYERS = {
    "rnn": lambda: unrolled.RNN(3, 4, 2),
    "lstm": lambda: unrolled.LSTM(3, 4, 2),
    "gru": lambda: unrolled.GRU(3, 4, 2),
    "gru reset before": lambda: unrolled.GRU(3, 4, reset="before"),
    "janet": lambda: unrolled.JANET(3, 4, 2),
    "tcn": lambda: unrolled.TCN(3, 4, 2),
    "conv": lambda: Conv(3, 4),
    "dense": lambda: Dense(3, 4),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def saved_and_loaded(content, *, weights_only):
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return torch.load(file, weights_only=weights_only)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda content: pickle.loads(pickle.dumps(content)),
    "torch.save": lambda content: saved_and_loaded(content, weights_only=False),
}
every_copy = pytest.mark.parametrize("how", COPIES)


@every_layer
@every_copy
def test_a_copied_layer_computes_and_trains_the_same(name, how):
    layer, x = LAYERS[name](), torch.randn(5, 2, 3)
    twin = COPIES[how](layer)
    assert list(twin.state_dict()) == list(layer.state_dict())
    results = []
    for one in (layer, twin):
        output, _ = one(x)
        results.append([output, *torch.autograd.grad(output.sum(), list(one.parameters()))])
    for expected, got in zip(*results, strict=True):
        assert torch.equal(got, expected)


@every_copy
def test_a_copied_tcn_shares_no_weights_and_keeps_its_hooks_and_its_mode(how):
    tcn = unrolled.TCN(3, 4, 2).eval()
    tcn.blocks[0].conv1.bias.requires_grad_(False)
    twin = COPIES[how](tcn)
    assert not twin.blocks[1].conv2.training
    assert not twin.blocks[0].conv1.bias.requires_grad
    before = tcn(torch.ones(5, 2, 3))[0]
    torch.nn.init.zeros_(twin.blocks[0].conv1.parametrizations.weight.original0)
    assert torch.equal(tcn(torch.ones(5, 2, 3))[0], before)
    assert not torch.equal(twin(torch.ones(5, 2, 3))[0], before)


@every_copy
def test_a_tcn_without_its_weight_norm_is_copied_without_it(how):
    tcn, x = unrolled.TCN(3, 4), torch.randn(5, 2, 3)
    block = tcn.blocks[0]
    for conv in (block.conv1, block.conv2):
        torch.nn.utils.parametrize.remove_parametrizations(conv, "weight")
    twin = COPIES[how](tcn)
    assert list(twin.state_dict()) == list(tcn.state_dict())
    assert torch.equal(twin(x)[0], tcn(x)[0])


@every_layer
@every_copy
def test_a_copied_stream_goes_on_with_the_same_bits(name, how):
    stream, x = LAYERS[name]().stream(2), torch.randn(9, 2, 3)
    stream.push(x[:4])
    twin = COPIES[how](stream)
    expected = stream.push(x[4:])
    assert torch.equal(twin.push(x[4:]), expected)
    twin.reset()
    assert torch.equal(torch.cat([twin.push(x[:4]), twin.push(x[4:])])[4:], expected)


def test_a_shallow_copy_of_a_stream_is_a_second_reader_of_the_same_layer():
    layer, x = unrolled.LSTM(3, 4), torch.randn(9, 2, 3)
    stream = layer.stream(2)
    stream.push(x[:4])
    fork = copy.copy(stream)
    expected = stream.push(x[4:])
    assert torch.equal(fork.push(x[4:]), expected)
    torch.nn.init.zeros_(layer.weight_hh_l0)
    fork.reset()
    assert torch.equal(fork.push(x), layer(x)[0])


@every_copy
def test_a_copied_state_has_the_same_names(how):
    _, state = unrolled.LSTM(3, 4)(torch.randn(5, 2, 3))
    twin = COPIES[how](state._make(part.detach() for part in state))
    assert type(twin) is type(state)
    assert torch.equal(twin.h, state.h)
    assert torch.equal(twin.c, state.c)


@every_layer
def test_a_saved_state_is_read_without_running_code(name):
    layer, x = LAYERS[name](), torch.randn(5, 2, 3)
    with torch.no_grad():
        _, state = layer(x)
        again = saved_and_loaded({"state": state}, weights_only=True)["state"]
        assert type(again) is type(state)
        for got, expected in zip(state_tensors(again), state_tensors(state), strict=True):
            assert torch.equal(got, expected)
        assert torch.equal(layer(x, again)[0], layer(x, state)[0])
