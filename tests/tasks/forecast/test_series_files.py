"""Series in lines: `.tsf` and `.ts` files."""

import re

import pytest
import torch

from unrolled.data import Source
from unrolled.errors import DataError
from unrolled.tasks.forecast import DataOptions, PredictOptions
from unrolled.tasks.forecast.reader import read_panel

TSF = """# a comment
@relation sales
@attribute series_name string
@attribute start_timestamp date
@attribute region string
@frequency {frequency}
@horizon 4
@missing true
@equallength false
@data
T1:1979-11-01 00-00-00:north:1.5,2,?,4
T2:1980-01-31 00-00-00:south:7,8,9
"""


def panel_of(tmp_path, text, name="a.tsf", **options):
    path = tmp_path / name
    path.write_text(text)
    return read_panel(path, DataOptions(file=str(path), **options))


@pytest.mark.parametrize(
    ("frequency", "times", "name"),
    [
        ("monthly", ["1979-11", "1979-12", "1980-01", "1980-02"], "monthly"),
        ("quarterly", ["1979-11", "1980-02", "1980-05", "1980-08"], "quarterly"),
        ("yearly", ["1979-11", "1980-11", "1981-11", "1982-11"], "yearly"),
        ("weekly", ["1979-11-01", "1979-11-08", "1979-11-15", "1979-11-22"], "weekly"),
        ("daily", ["1979-11-01", "1979-11-02", "1979-11-03", "1979-11-04"], "daily"),
        ("half_hourly", [f"1979-11-01 0{n // 2}:{n % 2 * 3}0:00" for n in range(4)], "every 30 m"),
        ("10_minutes", [f"1979-11-01 00:{n}0:00" for n in range(4)], "every 10 minutes"),
        ("4_seconds", [f"1979-11-01 00:00:{4 * n:02d}" for n in range(4)], "every 4 seconds"),
    ],
)
def test_a_line_of_a_tsf_file_is_a_series_from_its_time_stamp_on(frequency, times, name, tmp_path):
    panel = panel_of(tmp_path, TSF.format(frequency=frequency), static=("region",))
    first, second = panel.series
    assert (first.id, second.id) == ("T1", "T2")
    assert first.values[:, 0].tolist()[:2] == [1.5, 2]
    assert bool(first.values[2, 0].isnan())
    assert [panel.calendar.text(place) for place in first.places[:4]] == times
    assert len(first.places) == 4 + 4  # and the horizon
    assert panel.calendar.name.startswith(name)
    assert second.static == ("south",)
    assert first.where.endswith("a.tsf, line 11")


def test_a_tsf_file_is_learned_from_without_naming_columns(tmp_path, prepared):
    lines = [f"T{k}:2000-01-01 00-00-00:north:" for k in range(3)]
    text = TSF.format(frequency="monthly").partition("T1:")[0]
    values = ",".join(str(n % 12) for n in range(72))
    path = tmp_path / "b.tsf"
    path.write_text(text + "\n".join(line + values for line in lines) + "\n")
    run = prepared(path, time=None, target=(), horizon=None, lookback=6)
    assert run.task.sizes.horizon == 4
    assert run.task.calendar.season == 12
    rows = run.task.predict(run.trainer.model.eval(), run.task.own_source, PredictOptions())
    assert [(row["id"], row["time"]) for row in rows][:5] == [
        *(("T0", f"2006-0{month}") for month in (1, 2, 3, 4)),
        ("T1", "2006-01"),
    ]


def test_a_case_of_a_ts_file_is_a_series(tmp_path):
    text = "@timeStamps false\n@classLabel true a b\n@data\n1,2,?,4:5,6,7,8:a\n1,2,3:4,5,6: b\n"
    panel = panel_of(tmp_path, text, "a.ts", target=("value2,value1",), static=("label",))
    first, second = panel.series
    assert first.values[1].tolist() == [6, 2]
    assert second.values.tolist() == [[4, 1], [5, 2], [6, 3]]
    assert [each.static for each in panel.series] == [("a",), ("b",)]
    stamped = "@timeStamps true\n@data\n(2020-01-01,1),(2020-01-02,2),(2020-01-04,3)\n"
    panel = panel_of(tmp_path, stamped, "b.ts")
    assert panel.calendar.name == "daily"
    torch.testing.assert_close(
        panel.series[0].values[:, 0],
        torch.tensor([1, 2, torch.nan, 3], dtype=torch.float64),
        equal_nan=True,
    )


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (("@data\n", ""), "a.tsf, line 10: not a line of a header: 'T1:1979"),
        (("@frequency monthly", "@frequency often"), "line 6: unknown @frequency 'often'"),
        (("@frequency monthly\n", ""), "'start_timestamp' says when series begin, but there is"),
        (("@horizon 4", "@horizon soon"), "line 7: @horizon is no number of steps: 'soon'"),
        (("date", "moment"), "line 4: not @attribute, a name and a type: 'start_timestamp"),
        (("1979-11-01 00-00-00:", ""), "line 11: 2 attributes, but the header has 3"),
        (("1979-11-01 00-00-00", "1.11.1979"), "line 11: 'start_timestamp' is no time stamp"),
        (("2,?,4", "2,x,4"), "line 11: value 3 is not a finite number: 'x'"),
        (("7,8,9", "7:8,9"), "line 12: a colon among the values"),
        (("7,8,9", "7,8,,inf"), "line 12: value 4 is not a finite number: 'inf'"),
        (("series_name", "name"), "no column 'series_name'; there are 'name', 'start_timestamp'"),
        (("T2", "T1"), "line 12: series 'T1' is also in line 11"),
        (("region string", "region numeric"), "line 11: 'region' is not a finite number: 'north'"),
        (("1979-11", "9999-11"), "line 6: a series goes on after the year 9999"),
    ],
)
def test_a_tsf_file_that_cannot_be_used_is_refused_with_its_line(changed, expected, tmp_path):
    text = TSF.format(frequency="monthly")
    assert changed[0] in text
    with pytest.raises(DataError, match=re.escape(expected)) as refused:
        panel_of(tmp_path, text.replace(*changed))
    assert str(tmp_path / "a.tsf") in refused.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@data\n", "no series"),
        ("1,2\n@data\n", "line 1: not a line of a header: '1,2'"),
        ("@classLabel true a\n@data\n1,2,3\n", "line 3: no label"),
        ("@classLabel true a b\n@data\n1,2:a\n3,4:c\n", "line 4: the label 'c' is none of"),
        ("@data\n1,2:3,4\n1,2\n", "line 3: 1 dimensions, and 2 before"),
        ("@data\n1,2:3\n", "line 2: the steps of 'value2' are not those of 'value1'"),
        ("@data\n1,2:3,4\n", "no column 'value'; there are 'case', 'step', 'value1', 'value2'"),
        ("@timeStamps true\n@data\n1,2\n", "line 3: not (time,value) between commas: '1,2'"),
        ("@timeStamps true\n@data\n(1)\n", "line 3: not (time,value): '1'"),
        ("@data\n1,two\n", "line 2: value 2 is not a finite number: 'two'"),
    ],
)
def test_a_ts_file_that_cannot_be_used_is_refused_with_its_line(text, expected, tmp_path):
    with pytest.raises(DataError, match=re.escape(expected)):
        panel_of(tmp_path, text, "a.ts")


def test_another_format_than_that_of_the_training_is_forecast(tmp_path, write_table, prepared):
    """The same columns are the same model's, wherever they stand."""
    months = [f"{year}-{month:02d}" for year in (1998, 1999, 2000) for month in range(1, 13)]
    rows = [f"T1,{month},{n % 4}" for n, month in enumerate(months)]
    path = write_table("series_name,time,value", *rows)
    run = prepared(path, time="time", id="series_name", target=("value",), lookback=4)
    other = tmp_path / "c.tsf"
    values = ",".join(row.rpartition(",")[2] for row in rows)
    header = TSF.format(frequency="monthly").partition("T1:")[0]
    other.write_text(f"{header}T1:1998-01-01:north:{values}\n")
    model = run.trainer.model.eval()
    sources = (run.task.own_source, Source.file(other))
    told, again = ([*run.task.predict(model, each, PredictOptions())] for each in sources)
    assert told == again
