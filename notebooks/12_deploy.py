# %% [markdown]
# # 12. Deploy: C, ONNX and a web page
#
# A trained model goes to where there is no Python: a microcontroller, a server in another language, a browser.
# `unrolled.export` writes it as plain C, as ONNX and as WebAssembly, and compares what was written with the model
# before you get it.

# %%
import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

import unrolled

torch.manual_seed(0)
layer, readout = unrolled.GRU(input_size=1, hidden_size=16), nn.Linear(16, 1)
optimizer = torch.optim.Adam([*layer.parameters(), *readout.parameters()], lr=0.01)
wave = torch.sin(torch.arange(400) * 0.3)
for _ in range(100):
    loss = nn.functional.mse_loss(readout(layer(wave[:-1, None, None])[0])[:, 0, 0], wave[1:])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"mean squared error of the next value: {loss.item():.4f}")

# %% [markdown]
# ## Plain C
#
# One C file and its header: weights are constants, nothing is allocated. `check=True` compiles the file here, runs
# it, and writes nothing if it differs from the model by more than 1e-5.

# %%
folder = Path(tempfile.mkdtemp())
compiler = shutil.which("cc")
written = unrolled.export.to_c([layer, readout], folder / "c", name="wave", check=bool(compiler))
print(f"{written.source.name}: {written.num_bytes:,} bytes of weights, {written.instance} of state")
if written.proof:
    print(f"greatest difference on random numbers: {written.proof.difference:.1e}")
for line in written.header.read_text().splitlines():
    if line.startswith(("#define WAVE_INPUTS", "#define WAVE_OUTPUTS", "int", "void")):
        print(line)

# %% [markdown]
# Your own program calls it like this: a structure for each sequence, `wave_init`, then `wave_step` for each step. Here
# it is compiled as a library and called from Python, to compare once more with the model.

# %%
if compiler:
    library = folder / "wave.so"
    flags = ["-std=c99", "-O2", "-ffp-contract=off", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, "-o", library, written.source], check=True)
    c = ctypes.CDLL(str(library))
    instance = ctypes.create_string_buffer(written.instance)
    c.wave_init(instance)
    x, y, said = (ctypes.c_float * 1)(), (ctypes.c_float * 1)(), []
    for value in wave[:50].tolist():
        x[0] = value
        assert c.wave_step(instance, x, y) == 0
        said.append(y[0])
    with torch.no_grad():
        expected = readout(layer(wave[:50, None, None])[0])[:, 0, 0].numpy()
    print(f"greatest difference: {np.abs(expected - said).max():.1e}")

# %% [markdown]
# ## Smaller weights
#
# `int8` takes a quarter of the bytes, `bf16` half of them. What that costs is said, too.

# %%
for weights in ("bf16", "int8"):
    small = unrolled.export.to_c(
        [layer, readout], folder / weights, weights=weights, check=bool(compiler)
    )
    cost = f", {small.proof.of_rounding:.1e} from the model" if small.proof else ""
    print(f"{weights}: {small.num_bytes:,} bytes{cost}")

# %% [markdown]
# ## ONNX
#
# Needs `pip install "unrolled[export]"`. The file takes batches and lengths of any size. ONNX Runtime has run it
# before it is put in place, and it differed by less than 1e-5.

# %%
(onnx,) = unrolled.export.to_onnx(layer.eval(), folder / "gru.onnx")
print({name: each["shape"] for name, each in onnx.inputs.items()}, "->", onnx.outputs)
print(f"greatest difference on {onnx.num_rows} sequences: {onnx.difference:.1e}")

# %% [markdown]
# Modules that hold our layers go through `torch.onnx.export`, which finds them. A run of any task is exported
# by command: `unrolled export runs/book --onnx book.onnx --stream`.
#
# ## A page
#
# WebAssembly, and a page around it that opens from a disk: nothing has to be installed where it runs.

# %%
page = unrolled.export.to_wasm([layer, readout], folder / "page", weights="int8")
for file in sorted(page.folder.iterdir()):
    print(f"{file.name:14} {file.stat().st_size:8,} bytes")

# %% [markdown]
# ## Try it
#
# - Export a language model that you have trained: its page goes on writing what somebody types.
# - Compile `wave.c` for another processor: `arm-none-eabi-gcc -mcpu=cortex-m4 -Os -c wave.c`.
# - Change a weight in `wave.c` by hand and run the comparison again. Would you have noticed without it?
#
# More: [export](../docs/export.md). This was the last notebook; [all of them](../docs/notebooks.md).
