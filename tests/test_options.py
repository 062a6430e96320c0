"""An option is written once: its check, its name in messages, its line in the docstring."""

import ast
import json
import math
import pickle
from collections import Counter
from dataclasses import MISSING, FrozenInstanceError
from pathlib import Path
from typing import Annotated, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import OptionError, field
from unrolled.options import Interval, Option, Options, absolute, option_fields, options


@options
class Tea(Options):
    """How tea is made."""

    panel = "Kitchen"
    limit: ClassVar[int] = 5

    kind: Annotated[str, Option("What leaves.", choices=("black", "green"))]
    cups: Annotated[int, Option("Number of cups.", within="[1, inf)")] = 1
    minutes: Annotated[float, Option("Time to draw.", within="(0, 10]", metavar="TIME")] = 3.0
    sugar: Annotated[int | None, Option("Lumps.", within="[0, inf)", absent="none")] = None
    milk: Annotated[bool, Option("Add milk.", flag="--milk/--black")] = False
    guests: Annotated[tuple[str, ...], Option("Who comes.", metavar="NAME")] = ()
    recipe: Annotated[str | None, Option("A file.", convert=absolute)] = None
    cook: Annotated["str | object", Option("Who makes it.", kind=str)] = "me"
    notes: str = "not an option"

    def check(self) -> None:
        """Raise `OptionError` where green tea gets milk."""
        if self.kind == "green" and self.milk:
            raise OptionError(f"{field('milk')} is for black tea", f"leave {field('milk')} out")


def leftovers(cls: type[Options]) -> str:
    return f"{cls.limit} biscuits"


@options(cups=4, sugar=2)
class Party(Tea):
    """Tea for many."""

    limit: ClassVar[int] = 40

    kind: Annotated[str, Option("What leaves.", choices=("black", "green"))] = "black"
    biscuits: Annotated[int | None, Option("Biscuits.", absent=leftovers)] = None


# ---- intervals ----------------------------------------------------------------------------------

ENDS = st.sampled_from([-math.inf, -1.5, 0.0, 1.0, 2.0, 9e18, math.inf])


@given(ENDS, ENDS, st.sampled_from("[("), st.sampled_from("])"), st.floats(allow_nan=True))
def test_an_interval_holds_what_mathematicians_say(low, high, left, right, number):
    interval = Interval.parse(f"{left}{low}, {high}{right}")
    above = number >= low if left == "[" else number > low
    below = number <= high if right == "]" else number < high
    assert (number in interval) == (above and below)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, inf)", "at least 1"),
        ("(0, inf)", "a number above 0"),
        ("[0, 1)", "in [0, 1)"),
        ("(0, 1]", "in (0, 1]"),
        ("[0.5, 2.5]", "in [0.5, 2.5]"),
    ],
)
def test_an_interval_is_said_in_words_where_it_has_no_upper_end(text, said):
    assert str(Interval.parse(text)) == said


# ---- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("cups", 2.0, "a whole number, got 2.0"),
        ("cups", "2", "a whole number, got '2'"),
        ("cups", True, "a whole number, got True"),
        ("cups", None, "a whole number, got None"),
        ("minutes", "3", "a number, got '3'"),
        ("minutes", True, "a number, got True"),
        ("minutes", None, "a number, got None"),
        ("sugar", 1.5, "a whole number, got 1.5"),
        ("milk", 1, "True or False, got 1"),
        ("milk", None, "True or False, got None"),
        ("kind", 1, "a text, got 1"),
        ("kind", Path("black"), "a text, got "),
        ("guests", "Ana", "a list of texts, got 'Ana'"),
        ("guests", ("Ana", 1), "a list of texts, got "),
        ("recipe", 7, "a text, got 7"),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_name(name, value, expected):
    with pytest.raises(OptionError) as caught:
        Tea(**{"kind": "black"} | {name: value})
    assert caught.value.message.startswith(f"{name} must be {expected}")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("cups", 0, "cups must be at least 1, got 0"),
        ("cups", 2**63, f"cups must be at most {2**63 - 1:,}, got {2**63}"),
        ("minutes", 0.0, "minutes must be in (0, 10], got 0.0"),
        ("minutes", 11, "minutes must be in (0, 10], got 11"),
        ("minutes", math.nan, "minutes must be in (0, 10], got nan"),
        ("sugar", -1, "sugar must be at least 0, got -1"),
        ("kind", "white", "kind must be one of black, green, got 'white'"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_name(name, value, message):
    with pytest.raises(OptionError) as caught:
        Tea(**{"kind": "black"} | {name: value})
    assert caught.value.message == message


def test_the_ends_of_a_range_and_whole_numbers_for_numbers_are_fine():
    tea = Tea(kind="green", cups=1, minutes=10, sugar=0)
    assert (tea.cups, tea.minutes, tea.sugar) == (1, 10, 0)


def test_none_is_for_options_that_may_be_absent_whatever_their_range():
    assert Tea(kind="black", sugar=None).sugar is None
    assert Party(sugar=None).sugar is None


def test_an_option_of_any_other_type_is_checked_by_its_class_alone():
    cook = object()
    assert Tea(kind="black", cook=cook).cook is cook


def test_what_concerns_several_options_is_checked_when_each_is_legal():
    with pytest.raises(OptionError, match="milk is for black tea"):
        Tea(kind="green", milk=True)
    with pytest.raises(OptionError, match="cups must be"):
        Tea(kind="green", milk=True, cups=0)


def test_a_value_is_converted_and_converting_it_again_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tea = Tea(kind="black", recipe="tea.txt")
    assert tea.recipe == str(tmp_path / "tea.txt")
    monkeypatch.chdir("/")
    assert Tea(**tea.to_dict()) == tea
    assert Tea(kind="black", recipe=None).recipe is None


def test_several_paths_become_absolute_in_their_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute(("a", "../b", "/c")) == (f"{tmp_path}/a", f"{tmp_path.parent}/b", "/c")


@given(
    st.sampled_from(["black", "green"]),
    st.integers(1, 10**12),
    st.floats(0, 10, exclude_min=True),
    st.none() | st.integers(0),
    st.lists(st.text()),
)
def test_options_come_back_from_json_as_they_were(kind, cups, minutes, sugar, guests):
    tea = Tea(kind=kind, cups=cups, minutes=minutes, sugar=sugar, guests=tuple(guests))
    again = Tea(**json.loads(json.dumps(tea.to_dict())))
    assert again == tea
    assert isinstance(again.guests, tuple)


def test_options_are_given_by_name_and_stay_as_they_are():
    with pytest.raises(TypeError):
        Tea("black")
    with pytest.raises(TypeError, match="'spoons'"):
        Tea(kind="black", spoons=1)
    with pytest.raises(TypeError, match="'kind'"):
        Tea()
    tea = Tea(kind="black")
    with pytest.raises(FrozenInstanceError):
        tea.cups = 2
    assert pickle.loads(pickle.dumps(tea)) == tea


def test_what_is_no_option_is_no_part_of_the_options():
    assert "notes" not in Tea(kind="black", notes="x").to_dict()
    assert "notes" not in [each.name for each in option_fields(Tea)]


# ---- classes ------------------------------------------------------------------------------------


def test_a_class_gives_what_it_inherits_other_defaults_and_changes_nothing_else():
    party, tea = Party(), Tea(kind="black")
    assert (party.kind, party.cups, party.sugar, party.minutes) == ("black", 4, 2, 3.0)
    assert (tea.cups, tea.sugar) == (1, None)
    with pytest.raises(OptionError, match="cups must be at least 1"):
        Party(cups=0)
    with pytest.raises(OptionError, match="milk is for black tea"):
        Party(kind="green", milk=True)


def test_options_keep_their_order_and_new_ones_come_last():
    names = [each.name for each in option_fields(Tea)]
    assert names == ["kind", "cups", "minutes", "sugar", "milk", "guests", "recipe", "cook"]
    assert [each.name for each in option_fields(Party)] == [*names, "biscuits"]


def test_a_field_says_all_that_commands_need():
    fields = {each.name: each for each in option_fields(Party)}
    types = {name: each.type for name, each in fields.items()}
    assert types == {
        "kind": str,
        "cups": int,
        "minutes": float,
        "sugar": int,
        "milk": bool,
        "guests": tuple,
        "recipe": str,
        "cook": object,
        "biscuits": int,
    }
    optional = {name for name, each in fields.items() if each.is_optional}
    assert optional == {"sugar", "recipe", "biscuits"}
    assert {each.panel for each in fields.values()} == {"Kitchen"}
    assert (fields["cups"].default, fields["sugar"].default) == (4, 2)
    assert fields["sugar"].absent == "none"
    assert fields["biscuits"].absent == "40 biscuits"  # asked of the class that it is of
    required = [each.name for each in option_fields(Tea) if each.default is MISSING]
    assert required == ["kind"]


def test_a_flag_is_the_name_with_dashes_unless_it_is_said():
    @options
    class Named(Options):
        hidden_size: Annotated[int, Option("Units.")] = 1
        num_layers: Annotated[int, Option("Layers.", flag="--layers")] = 1
        files: Annotated[tuple[str, ...], Option("Files.", positional=True, metavar="FILE")] = ()
        place: Annotated[str, Option("Place.", positional=True)] = ""

    flags = [each.flag for each in option_fields(Named)]
    assert flags == ["--hidden-size", "--layers", "FILE", "PLACE"]


def lines_of(cls: type[Options]) -> dict[str, str]:
    pairs = [line.strip().split(": ", 1) for line in cls.__doc__.splitlines() if ": " in line]
    return dict(pairs)


def test_the_docstring_lists_every_option_with_what_is_legal_and_what_none_means():
    assert Tea.__doc__.startswith("How tea is made.\n\nArgs:\n")
    lines = lines_of(Tea)
    assert [each.name for each in option_fields(Tea)] == list(lines)[:-1]
    assert lines["kind"] == "What leaves. One of black, green."
    assert lines["cups"] == "Number of cups. At least 1."
    assert lines["minutes"] == "Time to draw. In (0, 10]."
    assert lines["sugar"] == "Lumps. At least 0. None: none."
    assert lines["recipe"] == "A file."
    assert lines["Without a default"] == "kind."
    assert lines_of(Party)["biscuits"] == "Biscuits. None: 40 biscuits."
    assert "Without a default" not in lines_of(Party)


# ---- written once ----------------------------------------------------------------------------


def test_what_is_said_of_an_option_is_written_once():
    sources = Path(__file__).parents[1].joinpath("src", "unrolled").rglob("*options.py")
    calls = [node for path in sources for node in ast.walk(ast.parse(path.read_text()))]
    helps = Counter(
        ast.unparse(node.args[0])
        for node in calls
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Option"
    )
    assert len(helps) > 60
    assert [text for text, times in helps.items() if times > 1] == []


# ---- messages -----------------------------------------------------------------------------------


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def test_a_message_calls_options_by_their_names_in_python_or_on_the_command_line():
    with pytest.raises(OptionError) as caught:
        Tea(kind="green", milk=True)
    error = caught.value
    assert (error.message, error.hint) == ("milk is for black tea", "leave milk out")
    assert str(error) == "milk is for black tea (leave milk out)"
    assert error.render(flag) == ("--milk is for black tea", "leave --milk out")
    with pytest.raises(OptionError) as caught:
        Tea(kind="black", cups=0)
    assert caught.value.render(flag) == ("--cups must be at least 1, got 0", "")


def test_a_message_says_what_the_program_is_called_where_it_was_started():
    from unrolled.errors import PROGRAM, RunError, render

    error = RunError(f"no {field('run_path')}", f"`{PROGRAM} train` makes one")
    assert str(error) == "no run_path (`unrolled train` makes one)"
    shown = error.render(flag, "python -m unrolled")
    assert shown == ("no --run-path", "`python -m unrolled train` makes one")
    assert render(f"{field('a_b')} is {PROGRAM}") == "a_b is unrolled"


def test_an_error_from_another_process_can_still_be_rendered():
    with pytest.raises(OptionError) as caught:
        Tea(kind="green", milk=True)
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is OptionError
    assert again.render(flag) == ("--milk is for black tea", "leave --milk out")
