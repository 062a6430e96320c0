from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from unrolled.errors import DataError, OptionError
from unrolled.tasks.forecast import PredictOptions
from unrolled.tasks.forecast.frequency import find_calendar
from unrolled.tasks.forecast.moments import localized, packed_moments, parse_moment
from unrolled.tasks.forecast.times import Calendar


def moments(*texts):
    return localized([parse_moment(text) for text in texts], None)


def calendar_of(*texts, **options):
    return find_calendar([moments(*texts)], **options)


@pytest.mark.parametrize(
    ("texts", "name", "season", "following"),
    [
        (("2024-01-01 00:00", "2024-01-01 01:00"), "hourly", 24, "2024-01-01 02:00:00"),
        (("2024-01-01 00:00", "2024-01-01 00:15"), "every 15 minutes", 96, "2024-01-01 00:30:00"),
        (("2024-02-27", "2024-02-28"), "daily", 7, "2024-02-29"),
        (("20240227", "20240228"), "daily", 7, "2024-02-29"),
        (("2024-01-01", "2024-01-08", "2024-01-15"), "weekly", 52, "2024-01-22"),
        (("1949-11", "1949-12"), "monthly", 12, "1950-01"),
        (("2024-01-31", "2024-02-29", "2024-03-31"), "monthly", 12, "2024-04-30"),
        (("2024-01-15", "2024-02-15", "2024-03-15"), "monthly", 12, "2024-04-15"),
        (("2024-03-29", "2024-04-30", "2024-05-31"), "monthly, on workdays", 12, "2024-06-28"),
        (("2024-07-01", "2024-08-01", "2024-09-02"), "monthly, on workdays", 12, "2024-10-01"),
        (("2024-03-29", "2024-06-28", "2024-09-30"), "quarterly, on workdays", 4, "2024-12-31"),
        (("1970 Q3", "1970 Q4"), "quarterly", 4, "1971 Q1"),
        (("2020-01-01", "2021-01-01", "2022-01-01"), "yearly", 1, "2023-01-01"),
        (("1821", "1822"), "every 1", 1, "1823"),
        (("0.5", "0.75", "1"), "every 0.25", 1, "1.25"),
    ],
)
def test_the_frequency_is_found_and_continued(texts, name, season, following):
    calendar = calendar_of(*texts)
    assert (calendar.name, calendar.season) == (name, season)
    assert calendar.text(calendar.place(moments(texts[-1])[0]) + calendar.step) == following
    assert Calendar.from_dict(calendar.to_dict()) == calendar


def test_business_days_have_no_weekend():
    first = datetime(2024, 1, 1)  # a Monday
    days = [first + timedelta(n) for n in range(28) if n % 7 < 5]
    calendar = find_calendar([days])
    places = np.array([calendar.place(day) for day in days])
    assert calendar.name == "every business day"
    assert calendar.season == 5
    assert np.diff(places).tolist() == [1.0] * 19
    assert calendar.text(places[4] + 1) == "2024-01-08"
    with pytest.raises(ValueError, match="not a business day"):
        calendar.place(datetime(2024, 1, 6))


def test_an_hour_that_a_clock_skips_or_shows_twice_is_as_long_as_any():
    """In Berlin the clock went from 2 to 3 on 31 March, and from 3 to 2 on 27 October 2024."""
    spring = ["2024-03-31 01:00", "2024-03-31 03:00", "2024-03-31 04:00"]
    autumn = ["2024-10-27 01:00", "2024-10-27 02:00", "2024-10-27 02:00", "2024-10-27 03:00"]
    for texts, offsets in ((spring, ["+01", "+02", "+02"]), (autumn, ["+02", "+02", "+01", "+01"])):
        told = localized([parse_moment(text) for text in texts], "Europe/Berlin")
        calendar = find_calendar([told], zone="Europe/Berlin")
        places = [calendar.place(moment) for moment in told]
        assert np.diff(places).tolist() == [3600.0] * (len(texts) - 1)
        written = [calendar.text(place) for place in places]
        assert written == [f"{t}:00{offset}:00" for t, offset in zip(texts, offsets, strict=True)]


def test_days_of_a_time_zone_are_days_when_summer_time_begins():
    texts = ("2024-03-30T00:00+01:00", "2024-03-31T00:00+01:00", "2024-04-01T00:00+02:00")
    told = localized([parse_moment(text) for text in texts], "Europe/Berlin")
    calendar = find_calendar([told], zone="Europe/Berlin")
    assert calendar.name == "daily"
    assert calendar.text(calendar.place(told[-1]) + 1) == "2024-04-02"


def test_the_calendar_tells_hour_weekday_and_time_of_the_year():
    calendar = calendar_of("2024-01-01 00:00", "2024-01-01 06:00")
    assert calendar.cycles == ("day", "week", "year")
    features = calendar.features(np.array([calendar.place(m) for m in moments("2024-01-01 06:00")]))
    assert features[0, [0, 3]] == pytest.approx([1.0, 0.0], abs=1e-9)  # a quarter of the day
    assert calendar_of("2024-01-01", "2024-01-02").cycles == ("week", "year")
    assert calendar_of("1", "2").features(np.zeros(3)).shape == (3, 0)


def test_an_unknown_zone_is_refused():
    with pytest.raises(OptionError, match="unknown time zone 'Mars'"):
        localized([datetime(2024, 1, 1)], "Mars")


def test_moments_are_written_with_the_offset_that_all_of_them_have():
    calendar = calendar_of("2024-03-01T00:00+02:00", "2024-03-01T01:00+02:00")
    assert calendar.zone == "+02:00"
    assert calendar.text(calendar.place(parse_moment("2024-03-01T00:00Z"))) == (
        "2024-03-01 02:00:00+02:00"
    )
    assert Calendar.from_dict(calendar.to_dict()) == calendar
    daily = calendar_of("2024-03-01T00:00-03:30", "2024-03-02T00:00-03:30")
    assert (daily.name, daily.text(daily.place(parse_moment("2024-03-03T00:00-03:30")))) == (
        "daily",
        "2024-03-03",
    )
    several = calendar_of("2024-03-01T00:00+02:00", "2024-03-01T00:00+01:00")
    assert (several.zone, several.name) == ("UTC", "hourly")


@pytest.mark.parametrize(
    ("unit", "zone", "seconds"),
    [
        ("second", None, 0),
        ("second", "Europe/Lisbon", 0),
        ("second", "Asia/Kathmandu", 0),
        ("second", "-03:30", 0),
        ("day", None, 50_000),
        ("day", "Europe/Lisbon", 0),
        ("business day", None, 0),
    ],
)
def test_what_the_calendar_tells_of_many_places_is_what_each_date_says(unit, zone, seconds):
    calendar = Calendar(unit, 1, "datetime", zone=zone, seconds=seconds)
    most = {"second": 3e9, "day": 8e5, "business day": 5.7e5}[unit]
    places = np.floor(np.random.default_rng(0).uniform(2e5, most, 300))
    expected = []
    for place in places:
        moment = calendar.moment(place)
        hour = (moment.hour + moment.minute / 60 + moment.second / 3600) / 24
        cycles = {
            "day": hour,
            "week": (moment.weekday() + hour) / 7,
            "year": (moment.timetuple().tm_yday - 1 + hour) / 365.25,
        }
        angles = 2 * np.pi * np.array([cycles[name] for name in calendar.cycles])
        expected.append(np.concatenate([np.sin(angles), np.cos(angles)]))
    np.testing.assert_allclose(calendar.features(places), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("text", "dates", "expected"),
    [
        ("31/12/2024", "day-first", datetime(2024, 12, 31)),
        ("1.2.2024 7:05", "day-first", None),  # an hour of one digit is not ISO 8601
        ("1.2.2024 07:05", "day-first", datetime(2024, 2, 1, 7, 5)),
        ("01-02-2024T07:05:09", "month-first", datetime(2024, 1, 2, 7, 5, 9)),
        ("12/31/2024", "day-first", None),
        ("31/12/2024", "month-first", None),
        ("01/02.2024", "day-first", None),
        ("01/02/24", "day-first", None),
        ("2024-12-31", "day-first", None),
        ("31/12/2024", "iso", None),
    ],
)
def test_dates_are_read_in_the_order_that_is_named(text, dates, expected):
    if expected is None:
        with pytest.raises(ValueError):  # noqa: PT011  # whatever fromisoformat says
            parse_moment(text, dates)
    else:
        assert parse_moment(text, dates) == expected


def test_days_and_months_are_never_guessed(write_table, prepared):
    """Not even where a later row would tell: the 13th is no month."""
    days = [date(2024, 1, 1) + timedelta(n) for n in range(60)]
    path = write_table("day,y", *(f"{day:%d/%m/%Y},{n % 5}" for n, day in enumerate(days)))
    with pytest.raises(DataError, match=r"line 2: 'day' is neither a date .*01/01/2024") as refused:
        prepared(path)
    assert "day-first or month-first says which is which" in refused.value.hint
    expected = "line 14: 'day' is no date with month first: '13/01/2024'"
    with pytest.raises(DataError, match=expected) as refused:
        prepared(path, dates="month-first")
    assert "dates month-first: 12/31/2024 or 12/31/2024 23:59" in refused.value.hint
    run = prepared(path, dates="day-first")
    assert run.task.calendar.name == "daily"
    rows = run.task.predict(run.trainer.model.eval(), run.task.own_source, PredictOptions())
    assert [row["time"] for row in rows] == ["2024-03-01", "2024-03-02", "2024-03-03"]


@pytest.mark.parametrize(
    "given",
    [
        [],
        [1.5, 2.0],
        [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)],
        [datetime(2024, 10, 27, 2, fold=1), datetime(2024, 10, 27, 3)],
        [datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)],
        [datetime(2024, 1, 1), 3.0, ("month", 7)],
        [("quarter", 7), ("quarter", 8)],
    ],
)
def test_packed_moments_are_the_same_moments(given):
    packed = packed_moments(iter(given))
    assert [*packed] == given
    assert [getattr(moment, "fold", None) for moment in packed] == [
        getattr(moment, "fold", None) for moment in given
    ]
