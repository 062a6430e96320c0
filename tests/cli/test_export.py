import json

import pytest


def test_a_run_is_exported_and_the_greatest_difference_is_said(unrolled, trained, tmp_path):
    result = unrolled("export", trained, "--onnx", "lm.onnx")
    assert result.code == 0, result.err
    line, difference = result.out.strip().split(": greatest difference ")
    assert line == "lm.onnx"
    content = json.loads((tmp_path / "lm.json").read_text())
    stored = content["files"]["lm.onnx"]["greatest_difference"]
    assert difference == f"{stored:.1e} on 5 held-out sequences"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("none", "--onnx", "x.onnx"), 1, "none: no such folder"),
        (("trained", "--onnx", "."), 1, ".: is a folder"),
        (("trained", "--onnx", "no/x.onnx"), 1, "there is no folder for it"),
        (("trained", "--onnx", "x.onnx", "--opset", "7"), 1, "--opset must be 18 ... 23, got 7"),
        (("trained",), 2, "--onnx"),
    ],
)
def test_what_cannot_be_exported_is_said(unrolled, trained, arguments, code, message):
    result = unrolled("export", *arguments)
    assert result.code == code
    assert message in result.err
