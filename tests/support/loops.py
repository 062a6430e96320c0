"""What tests share that hold a cell against a loop over time of their own, in float64."""

import torch
from torch.utils._pytree import tree_leaves

import unrolled
from unrolled.kernels.running.paths import kernel_of

__all__ = ["assert_bits_of_rows", "assert_bits_of_threads", "assert_kernel_is_loop"]


def assert_kernel_is_loop(cell, loop, hidden_size=19, heads=None):
    """Hold a bidirectional layer on ragged rows against `loop`: a step of one row.

    loop: takes the input's part of each gate by name, the product of a gate by name and a vector,
    and the states, (H,) each; returns the new states.
    """
    lengths = [7, 2, 0, 7, 4]
    sizes = (hidden_size, heads)
    layer, (x, *starts) = problem(cell, torch.float32, *sizes)
    assert kernel_of(cell) is not None
    output, after = layer(x, starts[0] if len(starts) == 1 else tuple(starts), lengths=lengths)
    after = [after] if len(starts) == 1 else [*after]
    got = results(output, after, [x, *starts, *layer.parameters()])
    layer, (x, *starts) = problem(cell, torch.float64, *sizes)
    exact = results(*expected(loop, layer, x, starts, lengths), [x, *starts, *layer.parameters()])
    for ours, right in zip(got, exact, strict=True):
        assert (ours - right).norm() < 1e-6 * right.norm()


def assert_bits_of_rows(cell, hidden_size=37, heads=None):
    """Hold a row alone, in pieces, in a stream and without gradients to its bits in a batch."""
    layer = unrolled.Recurrent(cell, 3, hidden_size, heads=heads)
    x = torch.randn(9, 20, 3)
    whole, end = layer(x)
    with torch.no_grad():
        assert torch.equal(layer(x)[0], whole)
        alone, _ = layer(x[:, 7:8])
        assert torch.equal(alone, whole[:, 7:8])
        ragged, _ = layer(x, lengths=[9, 4, *[9] * 18])
        assert torch.equal(ragged[:4, 1], whole[:4, 1])
        first, state = layer(x[:5])
        second, state = layer(x[5:], state)
        assert torch.equal(torch.cat([first, second]), whole)
        assert all(map(torch.equal, tree_leaves(state), tree_leaves(end)))
        outputs, state = [], None
        for x_t in x:
            output, state = layer(x_t[None], state)
            outputs.append(output)
        assert torch.equal(torch.cat(outputs), whole)
        assert all(map(torch.equal, tree_leaves(state), tree_leaves(end)))
    for columns in (slice(0, 20), slice(3, 4)):
        stream = layer.stream(columns.stop - columns.start)
        steps = torch.stack([stream.step(x_t[columns]) for x_t in x])
        assert torch.equal(steps, whole[:, columns])
        chunks = layer.stream(columns.stop - columns.start)
        pushed = torch.cat([chunks.push(x[:4, columns]), chunks.push(x[4:, columns])])
        assert torch.equal(pushed, whole[:, columns])
        for streamed in (stream, chunks):
            for ours, right in zip(tree_leaves(streamed.state), tree_leaves(end), strict=True):
                assert torch.equal(ours, right[:, columns])
    pool = layer.streams(4)
    streams = [pool.join() for _ in range(3)]
    for first, last, rows in ((0, 3, [2, 0]), (0, 5, [1]), (3, 9, [0, 2]), (5, 9, [1])):
        pushed = pool.push(x[first:last, rows], [streams[row] for row in rows])
        assert torch.equal(pushed, whole[first:last, rows])


def run_alone(step, cell, weights, x, starts):
    """Run one row, (T, I), from its states, (H,) each; return its outputs and the states after."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    units = len(weight_hh) // len(cell.recurrent)

    def u(gate, vector):
        rows = slice(n := cell.recurrent.index(gate) * units, n + units)
        size = weight_hh.shape[1]  # of a head; all units without heads
        heads = zip(weight_hh[rows].split(size), vector.split(size), strict=True)
        return torch.cat([block @ part for block, part in heads]) + bias_hh[rows]

    states, outputs = starts, []
    for x_t in x:
        parts = (weight_ih @ x_t + bias_ih).split(units)
        states = step(dict(zip(cell.feedforward, parts, strict=True)), u, *states)
        outputs.append(states[0])
    return outputs, states


def expected(loop, layer, x, starts, lengths):
    """Return outputs and states of a bidirectional layer, row by row, and zeros behind rows."""
    cell, units = layer.cell, layer.hidden_size
    parameters = dict(layer.named_parameters())
    output = torch.zeros(len(x), len(lengths), 2 * units, dtype=torch.float64)
    after = [start.clone() for start in starts]
    for row, length in enumerate(lengths):
        for direction, suffix in enumerate(("_l0", "_l0_reverse")):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights = [parameters[name + suffix] for name in names]
            steps = range(length)[:: -1 if direction else 1]
            before = [start[direction, row] for start in starts]
            rows, ends = run_alone(loop, cell, weights, [x[t, row] for t in steps], before)
            part = slice(direction * units, (direction + 1) * units)
            for t, value in zip(steps, rows, strict=True):
                output[t, row, part] = value
            for state, end in zip(after, ends, strict=True):
                state[direction, row] = end
    return output, after


def problem(cell, dtype, hidden_size, heads):
    torch.manual_seed(3)
    layer = unrolled.Recurrent(cell, 3, hidden_size, bidirectional=True, heads=heads)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.uniform_(-0.6, 0.6)
        for suffix in layer.suffixes:  # a sum over many units is not to saturate
            weight = layer.get_parameter(f"weight_hh_{suffix}")
            weight.mul_(min(1.0, (19 / weight.shape[1]) ** 0.5))
    x = torch.randn(7, 5, 3)
    starts = [torch.randn(2, 5, hidden_size) * 0.5 for _ in cell.states]
    return layer.to(dtype), [tensor.to(dtype).requires_grad_() for tensor in (x, *starts)]


def results(output, after, leaves):
    torch.manual_seed(4)
    total = sum((each * torch.randn(each.shape)).sum() for each in (output, *after))
    return [*(each.detach() for each in (output, *after)), *torch.autograd.grad(total, leaves)]


def assert_bits_of_threads(layer, x):
    """Hold what one thread computes of a layer, and its gradients, against two, bit by bit."""

    def passes(threads):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            output, _ = layer(x)
            return [output, *torch.autograd.grad(output.sum(), [x, *layer.parameters()])]
        finally:
            torch.set_num_threads(before)

    for one, two in zip(passes(1), passes(2), strict=True):
        assert torch.equal(one, two)
