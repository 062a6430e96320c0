"""The names that torch keeps for itself and that we use: each is there in the torch installed.

`make torch-versions` asks other versions that the package says it takes. A name that one of them
has moved is found here by itself, before it is an import that fails somewhere.
"""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"

# All were there in 2.10.0, 2.13.0 and 2.15.0.
NAMES = (
    "torch._C.DisableTorchFunction",
    "torch._C.DispatchKey",
    "torch._C.DispatchKeySet",
    "torch._C.OptionalType.ofTensor",
    "torch._C._ForceDispatchKeyGuard",
    "torch._C._after_autograd_keyset",
    "torch._C._any_requires_grad",
    "torch._C._are_functorch_transforms_active",
    "torch._C._autograd._profiler_enabled",
    "torch._C._dispatch_key_parse",
    "torch._C._dispatch_keys",
    "torch._C._dispatch_tls_local_exclude_set",
    "torch._C._dispatch_tls_local_include_set",
    "torch._C._distributed_c10d.PrefixStore",
    "torch._C._dynamo.eval_frame._FrameAction",
    "torch._C._dynamo.eval_frame._FrameExecStrategy",
    "torch._C._dynamo.eval_frame.set_code_exec_strategy",
    "torch._C._functorch.is_functorch_wrapped_tensor",
    "torch._C._functorch.peek_interpreter_stack",
    "torch._C._get_tracing_state",
    "torch._C._increment_version",
    "torch._C._len_torch_dispatch_stack",
    "torch._VF",
    "torch._assert_async",
    "torch._decomp._core_aten_decompositions_post_autograd",
    "torch._decomp.decomposition_table",
    "torch._dispatch.python.enable_python_dispatcher",
    "torch._dynamo.OptimizedModule",
    "torch._foreach_lerp_",
    "torch._higher_order_ops.scan.scan_op",
    "torch._is_functional_tensor",
    "torch._standard_gamma",
    "torch._subclasses.FakeTensorMode",
    "torch._weight_norm",
    "torch.autograd.graph._engine_run_backward",
    "torch.nn.modules.dropout._DropoutNd",
    "torch.onnx._internal.torchscript_exporter._type_utils",
    "torch.onnx._internal.torchscript_exporter.jit_utils",
    "torch.onnx._internal.torchscript_exporter.registration",
    "torch.onnx._internal.torchscript_exporter.symbolic_helper",
    "torch.utils._python_dispatch.TorchDispatchMode",
    "torch.utils._python_dispatch._disable_current_modes",
    "torch.utils._pytree",
    "torch.utils._pytree._register_namedtuple",
    "torch.utils._pytree.tree_flatten",
    "torch.utils._pytree.tree_leaves",
    "torch.utils._pytree.tree_map",
    "torch.utils._pytree.tree_unflatten",
)
ABSENT_IN_SOME_BUILDS = {"torch._C._distributed_c10d.PrefixStore"}  # what reads it says so


def is_private(name: str) -> bool:
    return any(part.startswith("_") and not part.endswith("__") for part in name.split("."))


def names_in(tree: ast.AST) -> Iterator[str]:
    """The private names of torch that are read or imported, in full."""
    inner: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("torch."))
        elif isinstance(node, ast.Attribute) and node not in inner:
            inner.add(node.value)
            text = ast.unparse(node)
            if text.startswith("torch.") and all(part.isidentifier() for part in text.split(".")):
                inner.update(ast.walk(node))
                yield text


def used() -> set[str]:
    trees = (ast.parse(file.read_text(encoding="utf-8")) for file in SOURCE.rglob("*.py"))
    return {name for tree in trees for name in names_in(tree) if is_private(name)}


def test_every_private_name_of_torch_is_listed():
    assert used() == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_torch_has(name):
    if name in ABSENT_IN_SOME_BUILDS:
        pytest.importorskip(name.rpartition(".")[0])
    parts = name.split(".")
    for count in range(len(parts), 0, -1):  # modules, then what is in the last one
        try:
            found = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        break
    for part in parts[count:]:
        found = getattr(found, part)
