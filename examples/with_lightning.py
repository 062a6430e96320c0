"""A layer in a LightningModule: which symbol came first, after noise.

The loop, the checkpoint and what reads it again are Lightning's; the layer is a module as any
other. Run it with `pip install lightning`, then `python examples/with_lightning.py`.
"""

import tempfile
from pathlib import Path

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader

import unrolled


class FirstSymbol(lightning.LightningModule):
    """Scores of the symbols, (B, 4), after rows were read, (T, B, 4)."""

    def __init__(self, hidden_size=16):
        super().__init__()
        self.save_hyperparameters()
        self.layer = unrolled.GRU(4, hidden_size)
        unrolled.initialize.forget_bias(self.layer, 3.0)
        self.scores = nn.Linear(hidden_size, 4)

    def forward(self, x):
        """Read rows, and return the scores."""
        _, h = self.layer(x)
        return self.scores(h[-1])

    def training_step(self, batch, _index):
        """Return the loss of a batch."""
        x, first = batch
        return nn.functional.cross_entropy(self(x), first)

    def configure_optimizers(self):
        """Return what updates the weights."""
        return torch.optim.AdamW(self.parameters(), lr=0.03)


def rows(num_rows, num_steps=20):
    """Return one-hot symbols (T, B, 4), the first four times as large, and the first's number."""
    symbols = torch.randint(4, (num_steps, num_rows))
    x = nn.functional.one_hot(symbols, 4).float()
    x[0] *= 4
    return x, symbols[0]


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)  # matrices this small are slower on several
    quiet = dict(logger=False, enable_progress_bar=False, enable_model_summary=False)
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1, enable_checkpointing=False, **quiet
    )
    batches = DataLoader([rows(64) for _ in range(150)], batch_size=None)
    trainer.fit(FirstSymbol(), batches)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "first.ckpt"
        trainer.save_checkpoint(path)
        model = FirstSymbol.load_from_checkpoint(path, weights_only=True).eval()
    x, first = rows(200)
    with torch.no_grad():
        right = (model(x).argmax(-1) == first).float().mean()
    print(f"{model.layer}, from its checkpoint: {right:.1%} right")


if __name__ == "__main__":
    main()
