"""`unrolled doctor`: what this machine offers, what is missing, and how to get it."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from unrolled.cli.terminal import say

__all__ = ["EXTRAS", "doctor"]

# The extras of this package: what each installs, and what for.
EXTRAS = {
    "compiler": ("ziglang", "a C compiler for the cells' kernels, where the system has none"),
    "bpe": ("tokenizers", "--tokens bpe"),
    "tables": ("polars", "tables in Parquet"),
    "translation": ("sacrebleu", "train translate and caption: BLEU, chrF"),
    "media": ("kaldi-native-fbank", "with pillow, soundfile and soxr: pictures and recordings"),
    "figures": ("plotly", "inspect, compare"),
    "serve": ("fastapi", "with uvicorn: the page"),
    "export": ("onnxscript", "with onnx and onnxruntime: export to ONNX"),
    "hdf5": ("h5py", "files for LSTMVis"),
    "matlab": ("scipy", "train multilabel: piano rolls of MATLAB"),
    "sklearn": ("scikit-learn", "estimators: unrolled.sklearn"),
    "tensorboard": ("tensorboard", "curves of a training in TensorBoard"),
    "bench": ("onnxruntime", "with jax, the peers of `unrolled bench` beside torch"),
}


def doctor() -> None:
    """Show what this machine offers and what it lacks.

    Versions, processor, compiler, extras, and how each layer is run.
    """
    sections = {
        "versions": _versions(),
        "machine": _machine(),
        "compiler": _compiler(),
        "extras": _extras(),
        "layers": _layers(),
    }
    for title, lines in sections.items():
        say(title)
        for name, value in lines.items():
            say(f"  {name:<18}{value}")


def _versions() -> dict[str, str]:
    packages = ("unrolled", "torch", "numpy", "safetensors", "typer", "rich")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def _machine() -> dict[str, str]:
    import torch

    from unrolled.benchmark.machine import available_cores, processor
    from unrolled.networks import available_devices

    variable = os.environ.get("OMP_NUM_THREADS", "not set")
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(),
        "vector extensions": torch.backends.cpu.get_cpu_capability(),
        "cores": f"{available_cores()} available to this process of {os.cpu_count()}",
        "threads": f"{torch.get_num_threads()} used by torch (OMP_NUM_THREADS {variable})",
        "devices": ", ".join(f"{count} {kind}" for kind, count in available_devices().items()),
    }


def _compiler() -> dict[str, str]:
    from unrolled.kernels import (
        KernelError,
        cache_entries,
        cache_folder,
        find_compiler,
        prebuilt_archives,
    )

    try:
        compiler = find_compiler()
        compiler_line = compiler.version() if compiler else "missing: install gcc or clang"
    except KernelError as error:
        compiler_line = str(error)
    try:
        archives, problem = prebuilt_archives()
        lines = [f"{archive.file} ({archive.instruction_set})" for archive in archives]
        ready_line = "; ".join([*lines, *([problem] if problem else [])]) or "none"
        if not lines and os.environ.get("CC"):
            ready_line = "not used, because CC names a compiler"
    except KernelError as error:
        ready_line = str(error)
    try:
        folder = cache_folder()
        cache_line = f"{folder.path} ({len(cache_entries())} kernels)"
        if folder.problem:
            cache_line += f"; {folder.problem}"
    except KernelError as error:
        cache_line = str(error)
    return {"compiler": compiler_line, "compiled ahead": ready_line, "cache": cache_line}


def _extras() -> dict[str, str]:
    lines = {}
    for extra, (package, purpose) in EXTRAS.items():
        try:
            state = version(package)
        except PackageNotFoundError:
            state = f'missing: pip install "unrolled[{extra}]"'
        lines[package] = f"{state}  ({purpose})"
    return lines


def _layers() -> dict[str, str]:
    """Return how each built-in layer is run on this machine's CPU."""
    from unrolled.kernels import TORCH_CELLS, kernel_or_reason, network_or_reason
    from unrolled.networks import LAYERS

    lines = {}
    for name, layer in LAYERS.items():
        if layer.cell is None:
            lines[name] = "torch"
            if name == "tcn":
                reason = network_or_reason()
                kernels = f"{reason}; " if isinstance(reason, str) else "compiled (float32); else "
                lines[name] = f"{kernels}torch"
            continue
        kernel = kernel_or_reason(layer.cell)
        words = "compiled from its equations (float32); else "
        if isinstance(kernel, str):
            words = f"{kernel}; "
        rest = (
            "torch's own kernel, ragged batches: the loop"
            if layer.cell in TORCH_CELLS
            else "the loop"
        )
        lines[name] = words + rest
    return lines
