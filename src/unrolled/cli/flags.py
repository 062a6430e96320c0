"""Commands from options classes: their parameters, their values, and what options are called.

An option is written once, as a field of a class; here it becomes what typer takes.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING
from functools import cache
from typing import Annotated, Any, TypeVar

import typer
from rich.markup import escape

from unrolled.errors import OptionError, render
from unrolled.errors import field as named
from unrolled.options import OptionField, Options, option_fields
from unrolled.tasks.registry import TASKS, options_of

__all__ = [
    "chosen",
    "chosen_of_any",
    "default_text",
    "flag_names",
    "help_text",
    "names_in_messages",
    "option_name",
    "parameter",
    "parameters",
    "parameters_of_any",
    "with_parameters",
]

AnyOptions = TypeVar("AnyOptions", bound=Options)

_NONE = "none"  # what is typed for None, where an option is a number unless somebody says so
_CLASSES = ("DataOptions", "ModelOptions", "TrainingOptions", "PredictOptions")


def parameters(*classes: type[Options]) -> list[inspect.Parameter]:
    """Return the parameters of a command that takes the options of some classes.

    Args:
        classes: Their options follow each other; no two may have one of the same name.
    """
    fields = [field for cls in classes for field in option_fields(cls)]
    assert len({field.name for field in fields}) == len(fields), "two options of one name"
    fields.sort(key=lambda field: not field.option.positional)
    # of what another option may decide it must be known whether it was typed
    return [
        _parameter(field, None if field.option.decided_by else field.default, field.panel)
        for field in fields
    ]


def parameters_of_any(classes: Mapping[str, type[Options]]) -> list[inspect.Parameter]:
    """Return the parameters of a command that takes the options of one of several classes.

    Which one is known only when the command runs, so what is not given is None.

    Args:
        classes: By what they are for, which is the heading that their options stand under.
    """
    owners: dict[str, list[str]] = {}
    fields: dict[str, OptionField] = {}
    for owner, cls in classes.items():
        for field in option_fields(cls):
            owners.setdefault(field.name, []).append(owner)
            fields.setdefault(field.name, field)
    return [
        _parameter(field, None, f"For runs of {' and '.join(owners[name])}")
        for name, field in fields.items()
    ]


def with_parameters(
    function: Callable[..., Any], own: Sequence[inspect.Parameter]
) -> Callable[..., Any]:
    """Return `function` with the parameters that typer is to see; it takes them by name."""

    def command(**values: Any) -> Any:
        return function(**values)

    notes = ((each.name, note) for each in own for note in _notes(each))
    fields = {name: note for name, note in notes if isinstance(note, OptionField)}
    command.__doc__ = function.__doc__
    # the first is what typer reads; the second is what the reference does
    vars(command).update(__signature__=inspect.Signature(list(own)), fields=fields)
    return command


def chosen(cls: type[AnyOptions], values: Mapping[str, Any]) -> AnyOptions:
    """Return the options of a class that were given on the command line.

    Args:
        cls: The class.
        values: Those of all parameters of the command.

    Raises:
        OptionError: A value out of its range, or two that exclude each other.
    """
    fields = option_fields(cls)
    for field in fields:
        other = field.option.decided_by
        if other and values[field.name] is not None and values[other] is not None:
            message = f"{named(field.name)} is given beside {named(other)}, which decides it"
            raise OptionError(message, "leave one of the two out")
    arguments = {field.name: _value(field, values[field.name]) for field in fields}
    unsaid = {
        field.name for field in fields if field.option.decided_by and arguments[field.name] is None
    }
    return cls(**{name: value for name, value in arguments.items() if name not in unsaid})


def chosen_of_any(cls: type[AnyOptions], owner: str, values: Mapping[str, Any]) -> AnyOptions:
    """Return the options of a class, from the parameters that `parameters_of_any` made.

    Args:
        cls: The class.
        owner: What it is for.
        values: Those of all classes; what was not given is None.

    Raises:
        OptionError: An option of another class was given, or a value is out of its range.
    """
    fields = {field.name: field for field in option_fields(cls)}
    typed = {name: value for name, value in values.items() if value is not None}
    if excess := sorted(typed.keys() - fields.keys()):
        raise OptionError(f"{named(excess[0])} is not for runs of {owner}", "leave it out")
    return cls(**{name: _value(fields[name], value) for name, value in typed.items()})


def flag_names(command: Any) -> dict[str, str]:
    """Return what the parameters of a command are called on the command line, by their names."""
    names = {}
    for parameter in command.params:
        is_option = parameter.param_type_name == "option"
        names[parameter.name] = parameter.opts[0] if is_option else parameter.metavar
    return names


def names_in_messages(command: Any) -> dict[str, str]:
    """Return `flag_names`, and by "NAME=False" what switches an option off."""
    options = [each for each in command.params if each.param_type_name == "option"]
    off = {f"{each.name}=False": each.secondary_opts[0] for each in options if each.secondary_opts}
    return flag_names(command) | off


def option_name(name: str) -> str:
    """Return what the command line calls an option of a task; any other name as it is."""
    return _option_names().get(name, name)


def parameter(
    name: str, annotation: Any, default: Any = inspect.Parameter.empty
) -> inspect.Parameter:
    """Return a parameter of a command, by name."""
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def help_text(field: OptionField) -> str:
    """Return an option's help, other options in it called as on the command line."""
    text = render(field.option.help, option_name)
    if _may_be_switched_off(field):
        text = f"{text.removesuffix('.')}; {_NONE}: {render(field.absent, option_name)}."
    return text


def default_text(field: OptionField) -> str:
    """Return what holds where an option is not given, as people read it; "" if that is nothing."""
    default = field.default
    if default is None:
        return render(field.absent, option_name)
    if default is MISSING or default == ():
        return ""
    if isinstance(default, bool):
        return _switches(field)[0 if default else -1] if len(_switches(field)) > 1 else ""
    return f"{default:g}" if isinstance(default, float) else str(default)


@cache
def _option_names() -> dict[str, str]:
    classes = [getattr(options_of(task), name) for task in TASKS for name in _CLASSES]
    return {field.name: _switches(field)[0] for cls in classes for field in option_fields(cls)}


def _notes(parameter: inspect.Parameter) -> Sequence[Any]:
    return getattr(parameter.annotation, "__metadata__", ())


def _parameter(field: OptionField, default: Any, panel: str) -> inspect.Parameter:
    """Return the parameter of an option.

    Args:
        field: The option.
        default: What the command takes where nothing is given.
        panel: The heading that it stands under.
    """
    option = field.option
    choices = f" One of {', '.join(option.choices)}." if option.choices else ""
    info: Any
    if option.positional:
        info = typer.Argument(metavar=option.metavar, help=escape(help_text(field)))
    else:
        info = typer.Option(
            "/".join(_switches(field)),
            help=escape(help_text(field) + choices),
            metavar=_metavar(field),
            show_default=default_text(field) or False,
            rich_help_panel=panel,
            parser=_number_or_none(field) if _may_be_switched_off(field) else None,
        )
    kind = option.kind or field.type
    annotation: Any = list[str] if kind is tuple else kind
    default = inspect.Parameter.empty if default is MISSING else default
    if kind is tuple and default == ():
        default = None
    if default is None:
        annotation = annotation | None
    return parameter(field.name, Annotated[annotation, info, field], default)


def _value(field: OptionField, value: Any) -> Any:
    """Return the value of an option from what typer made of the words that were typed."""
    if field.type is tuple:
        return tuple(value or ())
    return None if value == _NONE and _may_be_switched_off(field) else value


def _switches(field: OptionField) -> tuple[str, ...]:
    """Return the flag of an option; of a switch that is not simply off both flags."""
    flag = field.flag
    if field.type is bool and field.default is not False and "/" not in flag:
        return flag, f"--no-{flag.removeprefix('--')}"
    return tuple(flag.split("/"))


def _metavar(field: OptionField) -> str | None:
    option = field.option
    if _may_be_switched_off(field):
        return f"{option.metavar or ('N' if field.type is int else 'X')}|{_NONE}"
    return option.metavar or ("NAME" if option.choices else None)


def _may_be_switched_off(field: OptionField) -> bool:
    return field.is_optional and field.default not in (None, MISSING)


def _number_or_none(field: OptionField) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return _NONE if text == _NONE else field.type(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not a number, nor {_NONE}") from None

    return parse
