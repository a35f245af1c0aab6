"""Commands that take their input in one of several forms, each form with options of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import typer

from skn.errors import InputError


def chosen_form(context: typer.Context, forms: Mapping[str, Sequence[str]]) -> str:
    """Return the form whose input the user gave. ``forms`` maps a form's parameter to the other parameters of that
    form.

    Raises :class:`InputError` if none or several forms are given, and for options of another form, because a user would
    believe that an ignored option has an effect.
    """
    given = [form for form in forms if is_said(context, form)]
    names = " or ".join(_option(context, form) for form in forms)
    if len(given) != 1:
        raise InputError(f"give {names}, one of them (see 'skn {context.info_name} --help')")
    for form, parameters in forms.items():
        foreign = [name for name in parameters if form != given[0] and name not in forms[given[0]]]
        for name in foreign:
            if is_said(context, name):
                raise InputError(f"{_option(context, name)} goes with {_option(context, form)}; leave it out")
    return given[0]


def refuse_without(context: typer.Context, option: str, needed: str) -> None:
    """Raises :class:`InputError` for a given parameter that has no effect without another one."""
    if is_said(context, option) and not context.params[needed]:
        raise InputError(f"{_option(context, option)} goes with {_option(context, needed)}; leave it out, or give both")


def refuse_beside(context: typer.Context, option: str, other: str) -> None:
    """Raises :class:`InputError` for a given parameter that has no effect beside another one."""
    if is_said(context, option) and context.params[other]:
        raise InputError(f"{_option(context, option)} has no effect with {_option(context, other)}; leave it out")


def is_said(context: typer.Context, parameter: str) -> bool:
    """Whether the user gave this parameter."""
    return context.get_parameter_source(parameter).name == "COMMANDLINE"


def _option(context: typer.Context, parameter: str) -> str:
    """Return a parameter's spelling on the command line: "with_run" is --with."""
    return next(p.opts[0] for p in context.command.params if p.name == parameter)
