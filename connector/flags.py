"""The connector's parameters as flags of a command line, for `python -m connector` and the tools in packaging/.

Each is accepted under its name and in lower case: --MaxListSize and --max-list-size.
"""

from __future__ import annotations

import argparse
import re
from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Sequence, Tuple

from .config import PARAMETERS, RESOURCE_ID
from .names import VALID_THING_NAME, is_thing_name
from .parameter import Parameter

READ_BY_FUNCTION = tuple(parameter for parameter in PARAMETERS if parameter.name != RESOURCE_ID)


def add_flags(
    parser: argparse.ArgumentParser,
    parameters: Iterable[Parameter] = READ_BY_FUNCTION,
    also: Mapping[str, Sequence[str]] = {},
    note: Optional[str] = None,
) -> None:
    """Add a flag for each parameter.

    also: more spellings of a flag, by the parameter's name
    note: a sentence for the help, about all of them
    """
    group = parser.add_argument_group("the connector's parameters", note)
    for parameter in parameters:
        default = parameter.default.replace(",", ", ") if parameter.is_list else parameter.default
        text = f"{parameter.description} Valid: {parameter.valid}. Default: {default or 'none'}."
        group.add_argument(
            *spellings(parameter),
            *also.get(parameter.name, ()),
            dest=parameter.name,
            metavar="VALUE",
            type=_checking(parameter),
            help=text.replace("%", "%%"),
        )


def spellings(parameter: Parameter) -> Tuple[str, str]:
    """Return a parameter's two flags."""
    return f"--{parameter.name}", "--" + re.sub("(?<=[a-z])(?=[A-Z])", "-", parameter.name).lower()


def given(options: argparse.Namespace) -> Dict[str, str]:
    """Return the parameters that were given as flags, as an environment for config.read() or config.parse()."""
    values = {parameter.name: getattr(options, parameter.name, None) for parameter in PARAMETERS}
    return {name: value for name, value in values.items() if value is not None}


class SetAction(argparse.Action):
    """`--set NAME=VALUE`: as the parameter's own flag. NAME is any spelling of it."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        name, equals, text = values.partition("=")
        if not name or not equals:
            raise argparse.ArgumentError(self, f"{values!r} is not NAME=VALUE")
        try:
            parameter = find(name)
            value = _checking(parameter)(text)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(self, f"{name}: {error}") from error
        setattr(namespace, parameter.name, value)


def find(name: str) -> Parameter:
    """Return the parameter with this name, alias or flag; raise ArgumentTypeError, which names the closest, if none."""
    known: Dict[str, Parameter] = {}
    for parameter in PARAMETERS:
        flags = [flag[2:] for flag in spellings(parameter)]
        known.update(dict.fromkeys([*flags, parameter.alias or parameter.name], parameter))
    if name in known:
        return known[name]
    import difflib  # only here: no other module of the connector needs it

    lower = {spelling.lower(): parameter for spelling, parameter in known.items()}
    closest = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0)
    raise argparse.ArgumentTypeError(f"no parameter has this name; the closest is {lower[closest[0]].name}")


def thing_name(text: str) -> str:
    """Return the name of a thing or of a thing group; raise ArgumentTypeError if AWS IoT takes no such name."""
    if not is_thing_name(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not {VALID_THING_NAME}")
    return text


def _checking(parameter: Parameter) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not parameter.allows(text):
            raise argparse.ArgumentTypeError(f"{text!r} is not valid: {parameter.valid}")
        return text

    return check
