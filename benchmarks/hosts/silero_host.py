"""silero-vad: whether somebody speaks, chunk by chunk, by an LSTM cell. Weights of the wheel.

Its own models are TorchScript and ONNX, which are left alone. This is the model of 16 kHz in torch,
after the one for tinygrad in its wheel (silero_vad/tinygrad_model.py), with the weights of the
script and held against it.
"""

from pathlib import Path

import silero_vad
import torch
from torch import nn

REQUIRES = ["silero-vad==6.2.3"]
DATA = Path(silero_vad.__file__).parent / "data"


class Silero(nn.Module):
    """The model of 16 kHz."""

    def __init__(self):
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, 128, bias=False)
        sizes = [(129, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1)]
        for number, (inputs, outputs, stride) in enumerate(sizes, start=1):
            self.add_module(f"conv{number}", nn.Conv1d(inputs, outputs, 3, stride, 1))
        self.lstm_cell = nn.LSTMCell(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, x, state=None):
        """Read a chunk with its context, (B, 576)."""
        x = nn.functional.pad(x, (0, 64), "reflect").unsqueeze(1)
        x = self.stft_conv(x)
        x = (x[:, :129] ** 2 + x[:, 129:] ** 2).sqrt()
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = conv(x).relu()
        state = self.lstm_cell(x.squeeze(-1), state)
        return self.final_conv(state[0].unsqueeze(-1).relu()).sigmoid().mean(2), state


def make():
    """Return the model with the weights of the wheel, after it has agreed with the script."""
    model, script = Silero(), torch.jit.load(DATA / "silero_vad.jit")
    weights = script._model.state_dict()
    names = {"stft_conv": "stft.forward_basis_buffer", "final_conv": "decoder.decoder.2"}
    names |= {f"conv{n}": f"encoder.{n - 1}.reparam_conv" for n in range(1, 5)}
    names |= {"lstm_cell": "decoder.rnn"}
    for name, theirs in names.items():
        of_layer = {k.removeprefix(theirs): w for k, w in weights.items() if k.startswith(theirs)}
        layer = model.get_submodule(name)
        layer.load_state_dict({k.removeprefix(".") or "weight": w for k, w in of_layer.items()})
    with torch.no_grad():
        theirs = torch.cat([script(chunk, 16000) for chunk in audio().split(512, 1)[:20]], 1)
        difference = (call(model)[0][:, :20] - theirs).abs().max()
    assert difference < 1e-5, f"this is not their model: {difference}"
    return model


def audio():
    """Return five seconds of noise that grows and fades."""
    noise = torch.randn(1, 512 * 156, generator=torch.Generator().manual_seed(1))
    return 0.1 * noise * torch.linspace(0, 31, noise.shape[1]).sin()


def call(model):
    """Read five seconds, chunk by chunk, and return the probabilities and the state."""
    x, state, says = nn.functional.pad(audio(), (64, 0)), None, []
    for begin in range(0, x.shape[1] - 64, 512):
        probability, state = model(x[:, begin : begin + 576], state)
        says.append(probability)
    return torch.cat(says, 1), state
