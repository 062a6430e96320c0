"""The smallest language model: four letters, three hidden units, one word.

The network reads h, e, l, l as one-hot vectors and learns to say what comes next: e, l, l, o.
The two l's have different answers, so it must remember what came before. The equations:

    h_t = tanh(W_x x_t + b_x + W_h h_{t-1} + b_h)
    y_t = W_y h_t + b_y

Source of the example: A. Karpathy (2015), "The unreasonable effectiveness of recurrent neural
networks". Run it with `python examples/hello.py`.
"""

import torch
from torch import nn

import unrolled

LETTERS = "helo"
WORD = "hello"


def train(layer, readout, x, targets, updates=300):
    """Minimise the cross-entropy of the next letter; return the last loss in nats per letter."""
    optimizer = torch.optim.AdamW([*layer.parameters(), *readout.parameters()], lr=0.05)
    for _ in range(updates):
        hidden, _ = layer(x)
        loss = nn.functional.cross_entropy(readout(hidden), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def numbers(vector, width=6):
    return " ".join(f"{value:{width}.2f}" for value in vector.tolist())


def main():
    torch.manual_seed(0)
    ids = torch.tensor([LETTERS.index(letter) for letter in WORD])
    x = nn.functional.one_hot(ids[:-1], len(LETTERS)).float()  # (T, I) = (4, 4)
    targets = ids[1:]
    layer = unrolled.RNN(input_size=4, hidden_size=3)
    readout = nn.Linear(3, 4)
    chance = torch.tensor(4.0).log().item()
    loss = train(layer, readout, x, targets)
    print(f"after 300 updates: {loss:.4f} nats per letter (guessing: {chance:.4f})\n")

    print("       input    hidden                scores of the next letter")
    print(f"reads  {' '.join(LETTERS)}  {'state':20}  {'      '.join(LETTERS):>26}  says  right")
    with torch.no_grad():
        hidden, _ = layer(x)
        scores = readout(hidden)
    for step, letter in enumerate(WORD[:-1]):
        one_hot = " ".join(str(int(value)) for value in x[step])
        said = LETTERS[scores[step].argmax()]
        verdict = "yes" if said == WORD[step + 1] else f"no, {WORD[step + 1]}"
        print(
            f"  {letter}    {one_hot}  {numbers(hidden[step])}  {numbers(scores[step])}"
            f"    {said}   {verdict}"
        )
    said = "".join(LETTERS[i] for i in scores.argmax(-1))
    print(f"\nreads {WORD[:-1]!r}, says {said!r}")


if __name__ == "__main__":
    main()
