"""`unrolled bench`: its options, what it prints, the file that it keeps."""

import json

import pytest

from unrolled.benchmark import grid

QUICK = ("--quick", "--seconds", 0.02, "--threads", 1)


def test_the_command_writes_a_table_and_a_file(unrolled, tmp_path):
    file = tmp_path / "bench.json"
    result = unrolled(
        "bench",
        *QUICK,
        *("--peers", "torch", "--only", "RNN: B4 T8 H16 forward", "--results", file),
    )
    assert result.code == 0, result.err
    kept = json.loads(file.read_text())
    assert [line["title"] for line in kept["lines"]] == [
        "RNN: B4 T8 H16 forward",
    ]
    assert kept["machine"]["threads"] == 1
    assert kept["machine"]["versions"].keys() >= {"python", "torch", "unrolled"}
    assert "**RNN**" in result.out
    assert "| B4 T8 H16 forward | " in result.out
    assert "1/1 RNN: B4 T8 H16 forward" in result.err


def test_lines_and_peers_are_listed_without_measuring(unrolled):
    result = unrolled("bench", "--list", "--only", "Ragged", "--peers", "torch")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "Ragged lengths: LSTM B32 T25..100 H128 training             packed; padded",
        "Ragged lengths: GRU B32 T25..100 H128 training              packed; padded",
    ]


def test_the_experiments_are_chosen_by_their_whole_titles(unrolled):
    result = unrolled("bench", "--list", "--neighbour", "--memory", "--only", "busy process")
    title = "LSTM: B64 T128 H256 training beside a busy process"
    assert result.out.split("  ")[0] == title
    assert len(result.out.splitlines()) == 1


def test_a_peer_that_is_not_installed_is_named(unrolled, monkeypatch):
    monkeypatch.setitem(grid.PROCESSES, "jax", ("no_such_package",))
    result = unrolled("bench", *QUICK, "--peers", "jax", "--only", "RNN: B4 T8 H16 training")
    assert (
        'jax is left out: no_such_package not installed; pip install "unrolled[bench]"'
        in result.err
    )
    assert "| B4 T8 H16 training |" in result.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--peers", "torch,keras"], "--peers: no peer 'keras'"),
        (["--seconds", "0"], "--seconds must be above 0, got 0.0"),
        (["--threads", "0"], "--threads must be at least 1, got 0"),
        (["--only", "transformer"], "--only: no line contains 'transformer'"),
        (["--results", "nowhere/bench.json"], "--results: there is no folder nowhere"),
    ],
)
def test_a_wrong_option_is_one_line(unrolled, options, message):
    result = unrolled("bench", *options)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"unrolled: error: {message}\nhint: ")
