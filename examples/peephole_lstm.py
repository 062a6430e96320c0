"""A cell of one's own: the LSTM with peepholes, whose gates see the cell state.

Source: F. A. Gers and J. Schmidhuber (2000), "Recurrent nets that time and count". Its task is
made here too: a 1 arrives at an unknown step, and the network must say, step by step, how long
ago that was, up to ten steps. Run it with `python examples/peephole_lstm.py`.
"""

import torch
from torch import nn, sigmoid, tanh

import unrolled


@unrolled.cell(gates="i f g o", states="h c", keeps="f", admits="i")
def peephole_lstm(x, u, c, *, p_i=0.0, p_f=0.0, p_o=0.0):
    i = sigmoid(x.i + u.i + p_i * c)
    f = sigmoid(x.f + u.f + p_f * c)
    g = tanh(x.g + u.g)
    c = f * c + i * g
    o = sigmoid(x.o + u.o + p_o * c)
    h = o * tanh(c)
    return dict(h=h, c=c, i=i, f=f, g=g, o=o)


def steps_since_the_event(num_rows, num_steps=20):
    """Return inputs (T, B, 1) with a single 1 a row, and the steps since it, (T, B), 0..10."""
    event = torch.randint(num_steps // 2, (num_rows,))
    time = torch.arange(num_steps)[:, None]
    return (time == event).float().unsqueeze(-1), (time - event).clamp(0, 10)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)  # matrices this small are slower on several
    layer = unrolled.Recurrent(peephole_lstm, input_size=1, hidden_size=32)
    unrolled.initialize.forget_bias(layer, 1.0)
    scores = nn.Linear(32, 11)
    print(layer)
    print("weights:", ", ".join(name for name, _ in layer.named_parameters()))

    optimizer = torch.optim.AdamW([*layer.parameters(), *scores.parameters()], lr=0.02)
    for update in range(1, 301):
        x, age = steps_since_the_event(64)
        output, _ = layer(x)
        loss = nn.functional.cross_entropy(scores(output).flatten(0, 1), age.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update % 100 == 0:
            print(f"update {update}: {loss.item():.4f} nats per step")

    x, age = steps_since_the_event(200)
    stream = layer.stream(batch_size=200)
    right = torch.stack([scores(stream.step(step)).argmax(-1) for step in x]) == age
    print(f"streamed, step by step: {right.float().mean().item():.1%} of the answers are right")


if __name__ == "__main__":
    main()
