"""From an options class to a command and back: what every command's options rely on."""

import itertools
import re
from dataclasses import MISSING
from typing import Annotated

import pytest
import typer
from typer.core import TyperArgument
from typer.testing import CliRunner

from unrolled.cli.flags import (
    chosen,
    chosen_of_any,
    flag_names,
    names_in_messages,
    option_name,
    parameter,
    parameters,
    parameters_of_any,
    with_parameters,
)
from unrolled.cli.help import register
from unrolled.cli.main import app
from unrolled.cli.train import task_options, train_app
from unrolled.errors import OptionError, field
from unrolled.networks.options import WriteOptions
from unrolled.options import Option, Options, option_fields, options
from unrolled.tasks import TASKS, find_task, options_of


@options
class First(Options):
    """An option of every kind."""

    panel = "First"
    files: Annotated[tuple[str, ...], Option("Files.", metavar="FILE", positional=True)]
    whole: Annotated[int, Option("A number.", within="[1, inf)")] = 3
    part: Annotated[float, Option("A part.", within="[0, 1)")] = 0.0
    limit: Annotated[float | None, Option("A limit.", absent="never")] = 1.5
    most: Annotated[int | None, Option("The most.", absent=f"as {field('hidden_size')}")] = None
    word: Annotated[str, Option(f"Unlike {field('num_parameters')}.", choices=("one", "two"))] = (
        "one"
    )
    columns: Annotated[tuple[str, ...], Option("Columns.", metavar="COLUMN")] = ()
    off: Annotated[bool, Option("Off by itself.")] = False
    on: Annotated[bool, Option("On by itself.")] = True
    either: Annotated[bool | None, Option("Yes, no, or as it comes.", absent="as it comes")] = None
    case: Annotated[bool, Option("Small letters.", flag="--lower/--keep")] = True
    num_layers: Annotated[int, Option("Layers.", flag="--layers")] = 1


@options
class Second(Options):
    """Shares an option with another class."""

    panel = "Second"
    whole: Annotated[int, Option("A number.")] = 7
    own: Annotated[int, Option("Of the second alone.")] = 9


def run(own, take, *arguments):
    """Call a command of these parameters on a command line; return what typer says."""
    small = typer.Typer()
    small.command()(with_parameters(take, own))
    register([small])
    return CliRunner().invoke(small, [str(argument) for argument in arguments])


def parsed(*arguments):
    taken = []
    result = run(parameters(First), lambda **v: taken.append(chosen(First, v)), *arguments)
    assert result.exit_code == 0, result.output
    return taken[0]


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ((), {}),
        (("b", "c"), {"files": ("a", "b", "c")}),
        (("--whole", "5"), {"whole": 5}),
        (("--part", "0.25"), {"part": 0.25}),
        (("--limit", "2"), {"limit": 2.0}),
        (("--limit", "none"), {"limit": None}),
        (("--most", "4"), {"most": 4}),
        (("--word", "two"), {"word": "two"}),
        (("--columns", "x", "--columns", "y"), {"columns": ("x", "y")}),
        (("--off",), {"off": True}),
        (("--on",), {}),
        (("--no-on",), {"on": False}),
        (("--either",), {"either": True}),
        (("--no-either",), {"either": False}),
        (("--keep",), {"case": False}),
        (("--lower",), {}),
        (("--layers", "2"), {"num_layers": 2}),
    ],
    ids=" ".join,
)
def test_what_is_typed_is_what_the_class_gets_and_the_rest_has_its_defaults(arguments, values):
    assert parsed("a", *arguments) == First(**{"files": ("a",), **values})


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--no-off",), 2, "--no-off"),
        (("--num-layers", "2"), 2, "--num-layers"),
        (("--limit", "much"), 2, "'much' is not a number, nor none"),
        (("--whole", "many"), 2, "--whole"),
        (("--whole", "0"), 1, "must be at least 1, got 0"),
        (("--word", "three"), 1, "must be one of one, two, got 'three'"),
    ],
)
def test_what_no_class_takes_is_refused(arguments, code, words):
    result = run(parameters(First), lambda **v: chosen(First, v), "a", *arguments)
    assert result.exit_code == code
    assert words in f"{result.output} {result.exception}"


def help_of(own):
    """The help of a command, its lines joined and its frames taken away."""
    text = run(own, lambda **_: None, "--help").output
    return re.sub(r"[\s│╭╮╰╯─]+", " ", text)


def test_help_says_what_there_is_to_say_of_each_option(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = help_of(parameters(First))
    for expected in (
        "FILE Files. [required]",
        "--whole N A number. [default: 3]",
        "--part X A part. [default: 0]",
        "--limit X|none A limit; none: never. [default: 1.5]",
        "--most N The most. [default: as --hidden-size]",
        "--word NAME Unlike --parameters. One of one, two. [default: one]",
        "--columns COLUMN Columns. --off",
        "--off Off by itself. --[no-]on",
        "--[no-]on On by itself. [default: --on]",
        "--[no-]either Yes, no, or as it comes. [default: as it comes]",
        "--lower --keep Small letters. [default: --lower]",
        "--layers N Layers. [default: 1]",
    ):
        assert expected in text


def test_two_classes_with_an_option_of_one_name_make_no_command():
    with pytest.raises(AssertionError, match="two options of one name"):
        parameters(First, Second)


def test_of_several_classes_only_what_was_typed_is_looked_at(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    @options
    class Third(Options):
        """Shares an option with the second, and has another default."""

        whole: Annotated[int, Option("A number.")] = 8
        running: Annotated[bool, Option("Also the way.")] = False

    own, classes = [], {"second": Second, "third": Third}
    made = parameters_of_any(classes)
    for arguments in ((), ("--whole", "1"), ("--running",), ("--own", "5", "--whole", "2")):
        result = run(made, lambda **values: own.append(values), *arguments)
        assert result.exit_code == 0, result.output
    nothing, whole, running, both = own
    assert chosen_of_any(Second, "second", nothing) == Second(whole=7)
    assert chosen_of_any(Third, "third", nothing) == Third()
    assert chosen_of_any(Third, "third", whole) == Third(whole=1)
    assert chosen_of_any(Third, "third", running) == Third(running=True)
    assert chosen_of_any(Second, "second", both) == Second(own=5, whole=2)
    with pytest.raises(OptionError, match="running is not for runs of second"):
        chosen_of_any(Second, "second", running)
    text = help_of(made)
    assert "For runs of second and third --whole N A number. [default: 7]" in text
    assert "For runs of third --running Also the way." in text
    assert "--no-running" not in text


def test_a_command_has_parameters_of_its_own_too():
    extra = parameter("run", Annotated[str | None, typer.Option("--folder")], None)
    taken = []
    result = run([*parameters(Second), extra], lambda **v: taken.append(v), "--folder", "x")
    assert result.exit_code == 0
    assert taken == [{"whole": 7, "own": 9, "run": "x"}]


def commands_of(command, *path):
    """Every command that does something, by its path."""
    if not hasattr(command, "commands"):
        return {path: command}
    parts = [commands_of(each, *path, name) for name, each in command.commands.items()]
    return dict(itertools.chain(*(part.items() for part in parts)))


COMMANDS = commands_of(typer.main.get_command(app))
NEEDED = {
    "lm": {"files": ["a.txt"]},
    "classify": {"files": ["a.csv"], "input": ["text"], "target": "label"},
    "tag": {"file": "a.conll"},
    "translate": {"file": "a.tsv"},
    "caption": {"file": "a.tsv", "media": "file", "text": "words"},
    "forecast": {"file": "a.csv", "target": ["y"]},
    "multilabel": {"file": "a.txt"},
    "toy": {"problem": "echo"},
}


def classes_of(task):
    module = options_of(task)
    return module.DataOptions, module.ModelOptions, module.TrainingOptions


@pytest.mark.parametrize("task", TASKS)
def test_the_command_of_a_task_has_the_options_of_its_classes_and_no_others(task):
    fields = {each.name: each for cls in classes_of(task) for each in option_fields(cls)}
    command = COMMANDS["train", task]
    names = flag_names(command)
    assert names.keys() == fields.keys() | {"run_path", "trust_code"}
    assert all(names[name] == field.flag.partition("/")[0] for name, field in fields.items())


def test_a_message_can_name_what_switches_an_option_off():
    names = names_in_messages(COMMANDS["train", "classify"])
    error = OptionError("reads both ways", f"train with {field('bidirectional=False')}")
    assert error.render(lambda name: names.get(name, name))[1] == "train with --no-bidirectional"
    assert error.hint == "train with bidirectional=False"


@pytest.mark.parametrize("task", TASKS)
def test_the_defaults_of_a_command_are_those_of_the_library(task, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    needed = NEEDED[task]
    command = COMMANDS["train", task]
    words = []
    for name, value in needed.items():
        flag = flag_names(command)[name]
        for word in [value] if isinstance(value, str) else value:
            words += [flag, word] if flag.startswith("--") else [word]
    given = task_options(task, command.make_context("train", words).params)
    data, model, training = classes_of(task)
    needed = {name: tuple(v) if isinstance(v, list) else v for name, v in needed.items()}
    assert given == (data(**needed), model(), training())
    assert find_task(task).option_classes[:3] == (data, model, training)


def test_generate_has_the_options_of_the_library():
    fields = {each.name: each for each in option_fields(WriteOptions)}
    command = COMMANDS["generate",]
    assert {p.name for p in command.params} == fields.keys() | {"run", "device", "trust_code"}
    defaults = {p.name: p.default for p in command.params if p.name in fields}
    assert defaults == {name: field.default for name, field in fields.items()}


def test_predict_has_the_options_of_all_tasks():
    classes = [options_of(task).PredictOptions for task in TASKS]
    fields = {each.name for cls in classes for each in option_fields(cls)}
    command = COMMANDS["predict",]
    assert {p.name for p in command.params} == fields | {
        "run",
        "source",
        "as_json",
        "encoding",
        "device",
        "trust_code",
    }


def test_a_name_that_is_no_option_is_left_as_it_is():
    assert option_name("num_parameters") == "--parameters"
    assert option_name("lowercase") == "--lowercase"
    assert option_name("weather") == "weather"


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_is_sentences_with_a_name_for_every_value(path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    for typers_own in ("<str>", "<int>", "<float>", "<bool>", "<path>", "list[", "default: ("):
        assert typers_own not in result.output
    command = COMMANDS[path]
    assert command.help[0].isupper()
    assert not re.search(r"\S\n\S", command.help)  # lines end where the terminal ends
    for each in command.params:
        assert each.help, each.name
        words = each.help.removesuffix(" [/dim]").partition(" [dim]")[0]
        assert words[-1] in ".:)]" or words.endswith('".'), words
        assert words[0].isupper() or each.name == "problem", words


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_fits_in_80_columns(path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = CliRunner().invoke(app, [*path, "--help"]).output.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)


def test_training_is_what_the_first_line_of_help_is_about(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = CliRunner().invoke(app, ["--help"]).output
    commands = re.findall(r"^│ (\w+) +\w", text.partition("Commands")[2], re.MULTILINE)
    assert commands[0] == "train"
    assert set(commands) == {path[0] for path in COMMANDS}


def test_every_task_has_a_command():
    assert list(typer.main.get_command(train_app).commands) == list(TASKS)


def test_a_required_option_is_one_without_a_default():
    for (_, *task), command in COMMANDS.items():
        for cls in classes_of(task[0]) if task and task[0] in TASKS else ():
            for each in option_fields(cls):
                (found,) = (p for p in command.params if p.name == each.name)
                assert found.required == (each.default is MISSING), each.name


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_usage_line_has_no_signs_that_a_shell_or_we_would_not_take(words):
    """It is the command as it is typed: arguments first, in brackets what may be left out."""
    command = COMMANDS[words]
    line = " ".join(command.collect_usage_pieces(typer.Context(command)))
    assert not set("{}<>") & set(line)
    assert "[[" not in line
    assert line.endswith(("[OPTIONS]", "..."))
    required = [p.metavar for p in command.params if isinstance(p, TyperArgument) and p.required]
    assert line.split("[")[0].replace("...", "").split() == required


def test_the_first_help_has_an_example_and_begins_with_training():
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).output
    assert text.index("unrolled train lm") < text.index("Commands")
    assert re.search(r"Commands ─+╮\n│ train ", text)


@pytest.mark.parametrize("name", ["predict", "evaluate"])
def test_the_formats_of_every_task_are_named_and_keep_to_a_line(name):
    lines = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "80"}).output.splitlines()
    for task in TASKS:
        (line,) = (line for line in lines if line.strip().startswith(f"train {task} "))
        after = lines[lines.index(line) + 1].strip()
        assert not after or after.startswith("train ")


EXAMPLES = [
    (task, line.strip())
    for task in TASKS
    for line in options_of(task).HELP.splitlines()
    if line.startswith("  ")
]


@pytest.mark.parametrize(("task", "line"), EXAMPLES)
def test_an_example_in_help_is_a_whole_command(task, line):
    before, command, rest = line.partition(f"unrolled train {task} ")
    assert command, line
    assert before in ("", "torchrun --nproc-per-node 2 -m -- ")
    assert COMMANDS["train", task].make_context(task, rest.split()).params
