"""What is known of whole series."""

import re

import pytest
import torch

from unrolled.data import Source
from unrolled.errors import DataError, OptionError
from unrolled.tasks import load
from unrolled.tasks.forecast import DataOptions, PredictOptions

REGIONS = ("north", "south", "north", "east")
HEADER = "shop,t,y,region,size"


def shops(num=40, regions=REGIONS, sizes=(10, 20, 40, "")):
    for index, (region, size) in enumerate(zip(regions, sizes, strict=True)):
        for n in range(num):
            yield f"{'ABCDEFG'[index]},{n},{n % 4 + index},{region},{size}"


def test_numbers_are_standardised_over_series_and_words_get_a_vector_each(write_table, prepared):
    """Over those that are learned from: a series that is too short counts for nothing."""
    short = [f"F,{n},{n % 4},west,5000" for n in range(5)]
    path = write_table(HEADER, *shops(), *short)
    run = prepared(path, time="t", id="shop", static=("region", "size"), lookback=6)
    region, size = run.task.fitted.statics.columns
    assert region.words == ("east", "north", "south")
    assert size.center == pytest.approx(70 / 3)
    assert size.width == pytest.approx(((13.3333**2 + 3.3333**2 + 16.6667**2) / 3) ** 0.5, rel=1e-4)
    assert any(note.startswith("1 series has no value in a column of") for note in run.splits.notes)
    inputs = run.task.inputs([w for w in run.splits.training if w.origin == 6])
    numbers, words = inputs.static
    assert words.tolist() == [[2], [3], [2], [1]]
    assert numbers[:3, 0].tolist() == pytest.approx(
        [-13.333 / 12.472, -3.333 / 12.472, 16.667 / 12.472], rel=1e-3
    )
    features = run.trainer.model.features(inputs)
    last = features[:, :, -3:]  # one number, two features of the region
    assert torch.equal(last[0, :, 1:], last[2, :, 1:])
    assert not torch.equal(last[0, 0, 1:], last[1, 0, 1:])
    assert last[3, :, 0].tolist() == [0.0] * 6  # the mean


@pytest.mark.parametrize("method", ["direct", "segment", "encoder-decoder", "recursive"])
def test_series_that_look_alike_differ_by_what_is_known_of_them(method, write_table, prepared):
    """A window of one step has no difference: only the word tells whether it goes up or down."""
    rows = []
    for index in range(6):
        kind, change = ("up", 1) if index % 2 else ("down", -1)
        rows += [f"{index},{n},{change * n},{kind}" for n in range(40)]
    path = write_table("s,t,y,kind", *rows)
    model = {"method": method, "loss": "mse", "dropout": 0.0, "hidden_size": 8}
    model |= {} if method == "recursive" else {"linear": False}
    run = prepared(
        path,
        time="t",
        id="s",
        static=("kind",),
        lookback=1,
        horizon=1,
        transform="diff",
        model=model,
        training={"epochs": 8, "learning_rate": 0.05, "batch_size": 16},
    )
    run.trainer.fit()
    run.finish()
    loaded = load(run.trainer.run.path)
    told = [*loaded.task.predict(loaded.model, loaded.task.own_source, PredictOptions())]
    for row in told:
        assert row["forecast"] == pytest.approx(40 if int(row["id"]) % 2 else -40, abs=0.3)


def test_a_new_word_is_read_as_missing_and_said(write_table, prepared):
    path = write_table(HEADER, *shops())
    run = prepared(path, time="t", id="shop", static=("region", "size"), lookback=6)
    model = run.trainer.model.eval()
    torch.nn.init.normal_(model.answer.weight)
    other = write_table(HEADER, *shops(regions=("south", "moon", "moon", "")), name="other.csv")
    note = "1 word is new, and read as missing; the first: 'moon' in 'region'"
    assert note in run.task.read_examples(other)[1]
    missing = pytest.warns(UserWarning, match="2 times a series has no value")
    with missing, pytest.warns(UserWarning, match=re.escape(note)):
        rows = [*run.task.predict(model, Source.file(other), PredictOptions())]
    assert [row["id"] for row in rows] == [*"AAABBBCCCDDD"]
    wrong = write_table(HEADER, *shops(sizes=(10, "big", 3, 4)), name="wrong.csv")
    expected = "wrong.csv, line 42: 'size' is not a finite number: 'big'"
    with pytest.raises(DataError, match=re.escape(expected)):
        [*run.task.predict(model, Source.file(wrong), PredictOptions())]
    with pytest.raises(DataError, match="the model also reads region, size"):
        [*run.task.predict(model, Source.text("1,2,3,4,5,6"), PredictOptions())]


def test_the_column_that_names_series_gives_each_a_vector(write_table, prepared):
    rows = [f"{s},{n},{n % 4 + s}" for s in (1, 2, 3) for n in range(40)]
    run = prepared(write_table("s,t,y", *rows), time="t", id="s", static=("s",), lookback=6)
    (column,) = run.task.fitted.statics.columns
    assert column.words == ("1", "2", "3")


def test_a_static_column_has_one_value_for_each_series(write_table, prepared):
    rows = [*shops(40, REGIONS[:2], (10, 20))]
    rows[50] = rows[50].replace("south", "north")
    expected = "line 52: 'region' of series 'B' is 'north', and 'south' in line 42"
    with pytest.raises(DataError, match=re.escape(expected)):
        prepared(write_table(HEADER, *rows), time="t", id="shop", static=("region",))
    rows = [row.replace(",10", ",10.0") if n % 2 else row for n, row in enumerate(shops())]
    run = prepared(write_table(HEADER, *rows), time="t", id="shop", static=("size",))
    assert run.task.fitted.statics.columns[0].center == pytest.approx(70 / 3)
    path = write_table(HEADER, *shops(40, REGIONS, [""] * 4))
    with pytest.raises(DataError, match="no series has a value of 'size'"):
        prepared(path, run="none", time="t", id="shop", static=("size",))
    with pytest.raises(OptionError, match="column 'y' is named twice"):
        DataOptions(file="a.csv", target=("y",), static=("y",))


@pytest.mark.parametrize("odd", ["2O", "inf", "1e39"])
def test_a_column_of_numbers_and_something_else_is_words_and_that_is_said(
    odd, write_table, prepared
):
    path = write_table(HEADER, *shops(sizes=(10, odd, 40, "")))
    run = prepared(path, time="t", id="shop", static=("region", "size"), lookback=6)
    assert run.task.fitted.statics.columns[1].words == tuple(sorted(("10", odd, "40")))
    (note,) = [note for note in run.splits.notes if "words" in note]
    assert note.startswith(f"'size' is read as words: {odd!r} is not a finite number (")
    assert note.endswith(", line 42)")


def test_a_wrong_number_is_refused_before_any_forecast_is_written(write_table, prepared):
    path = write_table(HEADER, *shops())
    run = prepared(path, time="t", id="shop", static=("size",), lookback=6)
    wrong = Source.file(write_table(HEADER, *shops(sizes=(10, "big", 3, 4)), name="wrong.csv"))
    for asked in (PredictOptions(), PredictOptions(scores=True)):
        with pytest.raises(DataError, match="line 42: 'size' is not a finite number: 'big'"):
            next(run.task.predict(run.trainer.model.eval(), wrong, asked))
