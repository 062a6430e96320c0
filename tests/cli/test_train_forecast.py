"""Forecasting on the command line."""

from datetime import date, timedelta


def test_a_table_is_learned_from_and_predicted_without_naming_it_again(unrolled, tmp_path):
    first = date(2024, 1, 1)
    rows = ["day,y", *(f"{first + timedelta(n)},{n % 7 + n / 10}" for n in range(80))]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(rows) + "\n")
    small = ("--time", "day", "--target", "y", "--horizon", 2, "--epochs", 1, "--hidden-size", 4)
    done = unrolled("train", "forecast", path, *small, "--run", "r")
    assert done.code == 0, done.err
    assert "seasonal naive" in " ".join((done.out + done.err).split())
    told = unrolled("predict", "r")
    lines = [line.split("\t") for line in told.out.splitlines()]
    assert lines[0] == ["time", "target", "forecast", "low", "high"]
    assert [line[0] for line in lines[1:]] == ["2024-03-21", "2024-03-22"]
    assert "mase" in unrolled("evaluate", "r", path).out
    path.write_text("day,x\n2024-01-01,1\n")
    refused = unrolled("predict", "r")
    assert (refused.code, refused.out) == (1, "")  # and no heading of a table without rows
    assert "no column 'y'" in refused.err


def test_other_tasks_are_told_what_to_read(unrolled):
    assert unrolled("train", "toy", "hello", "--examples", 8, "--epochs", 1, "--run", "t").code == 0
    refused = unrolled("predict", "t")
    assert refused.code == 1
    assert "a model of toy needs something to read" in refused.err
