import math
import re
from datetime import datetime
from pathlib import Path

import polars
import pytest

from unrolled.errors import DataError, OptionError, field
from unrolled.tasks.forecast import DataOptions
from unrolled.tasks.forecast.reader import read_panel
from unrolled.tasks.forecast.times import Calendar


def read(path, **options):
    options = {"time": "day", "target": ("y",), "calendar": False} | options
    return read_panel(path, DataOptions(file=str(path), **options))


def test_a_step_without_a_row_and_an_empty_value_are_missing_and_counted(write_table):
    path = write_table("day,y", "2024-01-01,1", "2024-01-02,", "2024-01-04,4", "2024-01-05,5")
    (series,), calendar, notes, _ = read(path)
    values = series.values[:, 0].tolist()
    assert [v for v in values if v == v] == [1, 4, 5]
    assert [math.isnan(v) for v in values] == [False, True, True, False, False]
    assert notes == [
        "daily, 5 steps",
        "1 step has no row: they are marked as missing, and not learned from",
        "1 value of a target is missing, and not learned from",
    ]
    assert calendar.text(series.places[5]) == "2024-01-06"


def test_rows_out_of_order_are_put_in_order_and_counted(write_table):
    path = write_table("day,y", "2024-01-02,2", "2024-01-01,1", "2024-01-03,3")
    (series,), _, notes, _ = read(path)
    assert series.values[:, 0].tolist() == [1, 2, 3]
    assert "1 row came before an earlier time, and were put in order" in notes


def test_several_series_are_read_apart(write_table):
    rows = ["shop,day,y,z", "B,2024-01-01,1,7", "A,2024-01-05,2,8", "B,2024-01-02,3,9"]
    path = write_table(*rows, "A,2024-01-06,4,10")
    series, _, notes, _ = read(path, id="shop", target=("y", "z"))
    assert [(one.id, one.values.tolist()) for one in series] == [
        ("B", [[1, 7], [3, 9]]),
        ("A", [[2, 8], [4, 10]]),
    ]
    assert notes[0] == "daily, 2 series, 4 steps"


def test_rows_without_a_target_are_the_future_of_what_is_known(write_table):
    rows = ["day,y,price,rain", "2024-01-01,1,10,5", "2024-01-02,2,20,6", "2024-01-03,,30,"]
    (series,), _, _, _ = read(write_table(*rows), known=("price",), past=("rain",), horizon=2)
    assert series.values[:, 0].tolist() == [1, 2]
    assert series.past[:, 0].tolist() == [5, 6]
    known = series.known[:, 0].tolist()
    assert known[:3] == [10, 20, 30]
    assert math.isnan(known[3])


def test_without_a_time_the_rows_are_the_steps(write_table):
    (series,), calendar, _, _ = read(write_table("y", "1", "2"), time=None)
    assert series.values[:, 0].tolist() == [1, 2]
    assert calendar.text(series.places[2]) == "3"


def test_irregular_rows_are_steps_with_the_time_between_them(write_table):
    rows = ["day,y", "2024-01-01,1", "2024-01-02,2", "2024-01-04,3", "2024-01-05,4"]
    (series,), calendar, notes, _ = read(write_table(*rows), regular=False, horizon=1)
    assert series.values[:, 0].tolist() == [1, 2, 3, 4]
    gaps = [0, 0, math.log(2), 0, 0]
    assert series.known[:, 0].tolist() == pytest.approx(gaps, abs=1e-6)
    assert notes == ["irregular, 4 steps"]
    assert calendar.text(series.places[4]) == "2024-01-06"


WRONG = {
    "twice": (
        ["2024-01-01,1", "2024-01-02,1", "2024-01-01,2"],
        "lines 2 and 4 have the same 'day'",
    ),
    "nanoseconds": (
        [f"2024-01-01 00:00:00.00000000{n},1" for n in range(3)],
        "the 'day' of lines 2 and 3 differ by less than a microsecond",
    ),
    "twice to the nanosecond": (
        [f"2024-01-01 00:00:00.00000{n},1" for n in ("0001", "000100")],
        "lines 2 and 3 have the same 'day'",
    ),
    "text": (["2024-01-01,1", "2024-01-02,high"], "line 3: 'y' is not a finite number: 'high'"),
    "infinite": (["2024-01-01,1", "2024-01-02,inf"], "line 3: 'y' is not a finite number: 'inf'"),
    "no time": (["2024-01-01,1", "soon,2"], "line 3: 'day' is neither a date nor a number: 'soon'"),
    "two kinds": (["2024-01-01,1", "3,2"], "line 3: 'day' is a number, and a date before"),
    "zones": (
        ["2024-01-01 00:00,1", "2024-01-01 01:00+00:00,2"],
        "line 3: 'day' is a date with a time zone, and a date before",
    ),
    "off the grid": (
        ["2024-01-01 00:00,1", "2024-01-01 01:00,1", "2024-01-01 02:00,1", "2024-01-01 02:20,1"],
        "line 5: 2024-01-01 02:20:00 does not lie on the grid from 2024-01-01 00:00:00, hourly",
    ),
    "mixed": (
        [*(f"2024-01-01 0{n}:00,1" for n in range(6)), *(f"2024-01-0{n} 00:00,1" for n in (2, 3))],
        "line 8: 19 steps after the row before: most rows are hourly, but 41 of 49 steps have no",
    ),
    "months as numbers": (
        [f"20{year}{month:02d},1" for year in (23, 24) for month in range(1, 13)],
        "have no row, as where frequencies are mixed (months are written 2024-01",
    ),
    "thousands": (
        ["2024-01-01,1", '2024-01-02,"1,234"'],
        "line 3: 'y' is not a finite number: '1,234' (write 1234.5: a point",
    ),
    "yes and no": (["2024-01-01,True", "2024-01-02,1"], "number: 'True' (write 1 and 0"),
    "one row": (["2024-01-01,1"], "no two different times"),
    "no value": (["2024-01-01,", "2024-01-02,nan"], "line 2: no value of 'y'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_table_that_cannot_be_used_is_refused_with_its_line(name, write_table):
    rows, expected = WRONG[name]
    path = write_table("day,y", *rows)
    with pytest.raises(DataError, match=re.escape(expected)) as caught:
        read(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("other", ["3", "2024-02", "2024-01-01 00:00+01:00"])
def test_times_of_two_series_that_are_of_two_kinds_are_refused_with_their_line(other, write_table):
    path = write_table("s,day,y", "a,2024-01-01,1", "a,2024-01-02,1", f"b,{other},1")
    with pytest.raises(DataError, match=r"line 4: 'day' is a .*, and a date in series 'a'"):
        read(path, id="s")


def test_a_logarithm_of_nothing_is_refused_with_its_line(write_table):
    path = write_table("day,y", "2024-01-01,1", "2024-01-02,0")
    with pytest.raises(DataError, match="line 3: 'y' is 0, which has no logarithm"):
        read(path, transform="log")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"target": ()}, "no column to forecast"),
        ({"target": ("y", "y")}, "column 'y' is named twice"),
        ({"known": ("y",)}, "column 'y' is named twice"),
        ({"split": "8,2"}, "split must be three numbers of steps"),
        ({"split": "8,2,2", "test": 0.1}, "test and split both say where parts begin"),
        ({"held_out": 0.6, "test": 0.4}, "held_out and test together must be below 1, got 1"),
        ({"regular": False}, "rows without a time are at even distances"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options, expected):
    with pytest.raises(OptionError, match=expected):
        DataOptions(**{"file": "a.csv", "target": ("y",)} | options)


def test_options_of_times_are_said_to_be_unread_where_rows_have_none(tmp_path):
    (path := tmp_path / "table.csv").write_text("\n".join(["y", *map(str, range(60))]))
    data = DataOptions(file=str(path), target=("y",), zone="Europe/Lisbon", dates="day-first")
    notes = read_panel(path, data, ahead=1).notes
    names = [field(name) for name in ("zone", "dates")]
    assert notes[1:] == [f"{n} is not read: without {field('time')} rows are steps" for n in names]


def test_columns_may_stand_between_commas():
    data = DataOptions(file="a.csv", target=("a,b", "c"), known=("d, e",))
    assert data.target == ("a", "b", "c")
    assert data.known == ("d", "e")
    assert Path(data.file).is_absolute()


def test_an_hour_that_a_clock_shows_twice_is_read_as_two(write_table):
    """In Lisbon the clock went from 2 to 1 on 27 October 2024."""
    clocks = ["00:00", "01:00", "01:00", "02:00", "03:00"]
    rows = [f"2024-10-27 {clock},{n}" for n, clock in enumerate(clocks)]
    written = [
        f"2024-10-27T{clock}{'+01:00' if n < 2 else 'Z'},{n}" for n, clock in enumerate(clocks)
    ]
    for table in (rows, written):
        path = write_table("t,y", *table)
        data = DataOptions(file=str(path), time="t", target=("y",), zone="Europe/Lisbon")
        (series,), calendar, _, _ = read_panel(path, data)
        assert calendar.name == "hourly"
        assert series.values[:, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("minutes", [(0,), (0, 30)])
def test_an_hour_that_a_clock_shows_twice_is_read_from_the_end_of_a_file_with_its_newest_row_first(
    minutes, write_table
):
    clocks = ["00", "01", "01", "02", "03"]
    rows = [f"2024-10-27 {hour}:{m:02d}" for hour in clocks for m in minutes]
    rows = [f"{clock},{n}" for n, clock in enumerate(rows)]
    path = write_table("t,y", *rows[::-1])
    data = DataOptions(file=str(path), time="t", target=("y",), zone="Europe/Lisbon")
    panel = read_panel(path, data)
    assert panel.series[0].values[:, 0].tolist() == list(range(len(rows)))
    assert len(panel.notes) == 2  # the frequency, and that rows were put in order
    path = write_table("t,y", *rows[1:], rows[0])
    twice = 2 * len(minutes)
    assert any(
        note.startswith(f"{twice} rows are of an hour") for note in read_panel(path, data)[2]
    )


def test_a_time_that_no_clock_of_the_zone_shows_is_refused_and_a_day_that_begins_so_is_read(
    write_table,
):
    """In Lisbon 1:00 was skipped on 31 March 2024; in Sao Paulo 0:00 on 4 November 2018."""
    path = write_table("t,y", *(f"2024-03-31 0{hour}:00,{hour}" for hour in (0, 1, 3, 4)))
    data = DataOptions(file=str(path), time="t", target=("y",), zone="Europe/Lisbon")
    expected = "line 3: 't' is '2024-03-31 01:00', which no clock shows where zone is Europe/Lisbon"
    with pytest.raises(DataError, match=expected):
        read_panel(path, data)
    path = write_table("t,y", *(f"2018-11-0{day},{day}" for day in range(1, 8)))
    data = DataOptions(file=str(path), time="t", target=("y",), zone="America/Sao_Paulo")
    (series,), calendar, notes, _ = read_panel(path, data)
    assert (calendar.name, len(series), len(notes)) == ("daily", 7, 1)


def test_a_zone_that_the_file_names_is_that_of_its_days_and_hours(tmp_path):
    """In Berlin the last Sunday of March 2024 had 23 hours, that of October 25."""
    path = tmp_path / "zoned.parquet"
    for first, last, step, name, following in (
        ((2024, 3, 29), (2024, 4, 2), "1d", "daily", "2024-04-03"),
        ((2024, 10, 27), (2024, 10, 27, 4), "1h", "hourly", "2024-10-27 05:00:00+01:00"),
    ):
        times = polars.datetime_range(
            datetime(*first), datetime(*last), step, time_zone="Europe/Berlin", eager=True
        )
        polars.DataFrame({"day": times, "y": range(len(times))}).write_parquet(path)
        (series,), calendar, _, _ = read(path)
        assert (calendar.name, calendar.zone) == (name, "Europe/Berlin")
        assert series.values[:, 0].tolist() == [*range(len(times))]
        assert calendar.text(series.places[len(series)]) == following


def test_rows_after_the_last_value_are_counted(write_table):
    rows = [f"2024-01-{day:02d},{day if day < 8 else ''},{day}" for day in range(1, 11)]
    path = write_table("t,y,k", *rows)
    data = DataOptions(file=str(path), time="t", target=("y",), known=("k",), horizon=3)
    (series,), calendar, notes, _ = read_panel(path, data)
    assert calendar.text(series.places[len(series)]) == "2024-01-08"
    assert notes[1:] == [
        "3 rows come after the last value of a target: what is forecast begins there"
    ]
    assert len(read_panel(path, data, ahead=3).notes) == 1  # they were given for that


def test_two_rows_in_one_step_are_refused(write_table):
    """Hours, where the training had days: none of them stands for the day."""
    daily = Calendar("day", 1, "date")
    path = write_table("t,y", "2024-01-01 00:00,1", "2024-01-01 01:00,2", "2024-01-02 00:00,3")
    data = DataOptions(file=str(path), time="t", target=("y",))
    with pytest.raises(
        DataError, match="line 3: in the same step as line 2, where steps are daily"
    ):
        read_panel(path, data, calendar=daily)


def test_a_future_that_no_date_can_write_is_refused(write_table):
    path = write_table("t,y", *(f"{9990 + n}-06-01,{n}" for n in range(10)))
    data = DataOptions(file=str(path), time="t", target=("y",), horizon=3)
    with pytest.raises(DataError, match="line 11: the steps to forecast lie after the year 9999"):
        read_panel(path, data)
