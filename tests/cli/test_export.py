import json
import re
import shutil

import pytest

from unrolled.kernels import find_compiler


def test_a_run_is_exported_and_the_greatest_difference_is_said(unrolled, trained, tmp_path):
    result = unrolled("export", trained, "--onnx", "lm.onnx")
    assert result.code == 0, result.err
    line, difference = result.out.strip().split(": greatest difference ")
    assert line == "lm.onnx"
    content = json.loads((tmp_path / "lm.json").read_text())
    stored = content["files"]["lm.onnx"]["greatest_difference"]
    assert difference == f"{stored:.1e} on 5 held-out sequences"


def test_a_run_is_written_as_c_and_said_to_be_compared_or_not(unrolled, trained, tmp_path):
    result = unrolled("export", trained, "--c", "c", "--weights", "int8", "--name", "lm")
    assert result.code == 0, result.err
    assert result.out.startswith("c/lm.c: ")
    assert "not compared with the model: --check does that" in result.out
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["lm.c", "lm.h", "lm.json"]
    assert "typedef int8_t Weight;" in (tmp_path / "c" / "lm.c").read_text()


@pytest.mark.skipif(find_compiler() is None, reason="needs a C compiler")
def test_c_is_compared_on_what_was_held_out(unrolled, trained, tmp_path):
    result = unrolled("export", trained, "--c", "c", "--weights", "bf16", "--check")
    assert result.code == 0, result.err
    _, compared, rounded = result.out.splitlines()
    assert compared.startswith("greatest difference ")
    assert compared.endswith(" on 5 held-out sequences")
    assert float(compared.split()[2]) < 1e-6 < float(rounded.split()[4])


def test_a_run_is_written_as_a_page_and_said_to_be_compared_or_not(
    unrolled, trained, tmp_path, monkeypatch
):
    result = unrolled("export", trained, "--wasm", "page", "--weights", "int8")
    assert result.code == 0, result.err
    assert re.fullmatch(
        r"page/index.html: [\d,]+ bytes of weights as int8, the module of the built-in cells\n"
        "not compared with the model: --check does that\n",
        result.out,
    )
    assert (tmp_path / "page" / "index.html").is_file()
    monkeypatch.setattr("unrolled.export.wasm.files.has_node", lambda: False)
    result = unrolled("export", trained, "--wasm", "other", "--check")
    assert result.code == 0, result.err
    last = "not compared with the model: there is no node here, which would run it"
    assert result.out.splitlines()[-1] == last


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_a_page_is_compared_on_what_was_held_out(unrolled, trained):
    result = unrolled("export", trained, "--wasm", "page", "--weights", "int8", "--check")
    assert result.code == 0, result.err
    _, compared, rounded = result.out.splitlines()
    assert compared.endswith(" on 5 held-out sequences")
    assert float(compared.split()[2]) < 1e-6 < float(rounded.split()[4])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("none", "--onnx", "x.onnx"), 1, "none: no such folder"),
        (("trained", "--onnx", "."), 1, ".: is a folder"),
        (("trained", "--onnx", "no/x.onnx"), 1, "there is no folder for it"),
        (("trained", "--onnx", "x.onnx", "--opset", "7"), 1, "--opset must be 18 ... 23, got 7"),
        (("trained",), 1, "one of --onnx, --c and --wasm must be given"),
        (
            ("trained", "--onnx", "x.onnx", "--c", "c"),
            1,
            "one of --onnx, --c and --wasm must be given",
        ),
        (("trained", "--c", "c", "--opset", "18"), 1, "--opset is of --onnx"),
        (("trained", "--onnx", "x.onnx", "--weights", "int8"), 1, "--weights is of --c"),
        (("trained", "--wasm", "w", "--c", "c"), 1, "one of --onnx, --c and --wasm must be given"),
        (("trained", "--wasm", "w", "--name", "x"), 1, "--name is of --c"),
        (("trained", "--wasm", "w", "--stream"), 1, "--stream is of --onnx"),
        (("trained", "--wasm", "w", "--weights", "bf16"), 1, "f32 or int8 in a page, got 'bf16'"),
        (("trained", "--wasm", "trained"), 1, "trained: exists"),
        (("trained", "--c", "trained"), 1, "trained: exists"),
        (("trained", "--c", "c", "--name", "2d"), 1, "--name must be a name that C can have"),
    ],
)
def test_what_cannot_be_exported_is_said(unrolled, trained, arguments, code, message):
    result = unrolled("export", *arguments)
    assert result.code == code
    assert message in result.err
