"""A cell without a recurrent product: minGRU, whose gate sees the input alone.

Source: L. Feng et al. (2024), "Were RNNs all we needed?", arXiv 2410.01201, equations 9-11.
What it lacks and has is shown on one task: a symbol is given at the first step and asked for at
the last, with noise between. Run it with `python examples/min_gru.py`.
"""

import torch
from torch import nn, sigmoid

import unrolled


@unrolled.cell(gates="z n", recurrent="")
def min_gru(x, h):
    z = sigmoid(x.z)
    n = x.n
    h = (1 - z) * h + z * n
    return dict(h=h, z=z, n=n)


def first_symbol_and_noise(num_rows, num_steps=40, num_symbols=4):
    """Return one-hot inputs (T, B, 2 * symbols) and the symbol at the first step, (B,)."""
    symbols = torch.randint(num_symbols, (num_steps, num_rows))
    symbols[1:] += num_symbols  # noise looks different from the symbol that counts
    return nn.functional.one_hot(symbols, 2 * num_symbols).float(), symbols[0]


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)  # matrices this small are slower on several
    layer = unrolled.Recurrent(min_gru, input_size=8, hidden_size=24)
    with torch.no_grad():
        layer.bias_ih_l0[:24] = -4.0  # z starts nearly closed: a memory of 56 steps
    scores = nn.Linear(24, 4)
    print(layer)
    print("weights:", ", ".join(name for name, _ in layer.named_parameters()))

    optimizer = torch.optim.AdamW([*layer.parameters(), *scores.parameters()], lr=0.03)
    for update in range(1, 201):
        x, symbol = first_symbol_and_noise(64)
        _, state = layer(x)
        loss = nn.functional.cross_entropy(scores(state[-1]), symbol)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update % 50 == 0:
            print(f"update {update}: {loss.item():.4f} nats (chance: 1.3863)")

    x, symbol = first_symbol_and_noise(500)
    lengths = torch.randint(1, 41, (500,))
    _, state = layer(x, lengths=lengths)  # ragged: each row asked at its own end
    right = scores(state[-1]).argmax(-1) == symbol
    print(f"asked after 1 to 40 steps: {right.float().mean().item():.1%} right")


if __name__ == "__main__":
    main()
