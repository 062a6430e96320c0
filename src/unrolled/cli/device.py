"""The option of every command that runs a model: the device that it is on."""

from typing import Annotated, get_args

import typer

from unrolled.networks.options import Device as OptionOfDevice

__all__ = ["Device"]

_OPTION = get_args(OptionOfDevice)[1]
Device = Annotated[
    str | None,
    typer.Option(
        "--device", metavar=_OPTION.metavar, help=_OPTION.help, show_default=_OPTION.absent
    ),
]
