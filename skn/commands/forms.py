"""Commands that take their input in one of several forms, each with options of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import typer

from skn.errors import InputError


def chosen_form(context: typer.Context, forms: Mapping[str, Sequence[str]]) -> str:
    """The form whose input the user gave, of ``forms``: a parameter → the further ones that only it has.

    Raises :class:`InputError` where none or several are given, and for options of another form: an option that is
    passed over in silence would be believed.
    """
    given = [form for form in forms if _is_said(context, form)]
    names = " or ".join(_option(context, form) for form in forms)
    if len(given) != 1:
        raise InputError(f"give {names}, one of them (see 'skn {context.info_name} --help')")
    for form, parameters in forms.items():
        foreign = [name for name in parameters if form != given[0] and name not in forms[given[0]]]
        for name in foreign:
            if _is_said(context, name):
                raise InputError(f"{_option(context, name)} goes with {_option(context, form)}; leave it out")
    return given[0]


def refuse_without(context: typer.Context, option: str, needed: str) -> None:
    """Raises :class:`InputError` for a parameter that the user says and that has no effect without another one."""
    if _is_said(context, option) and not context.params[needed]:
        raise InputError(f"{_option(context, option)} goes with {_option(context, needed)}; leave it out, or give both")


def refuse_beside(context: typer.Context, option: str, other: str) -> None:
    """The same for one that has no effect beside another one."""
    if _is_said(context, option) and context.params[other]:
        raise InputError(f"{_option(context, option)} has no effect with {_option(context, other)}; leave it out")


def _is_said(context: typer.Context, parameter: str) -> bool:
    return context.get_parameter_source(parameter).name == "COMMANDLINE"


def _option(context: typer.Context, parameter: str) -> str:
    """As it is written on the command line: "with_run" is --with."""
    return next(p.opts[0] for p in context.command.params if p.name == parameter)
