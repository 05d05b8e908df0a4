"""The connector's parameters as packaging/parameters.json describes them.

`required` is the service's word for its own connector: a deployment must carry the parameter. Here each has a
default, so deploy.py always sets it and nobody has to give it.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path

from deployment.errors import UsageError

FILE = Path(__file__).resolve().parent.parent / "parameters.json"
RESOURCE_ID = "ProcDestinationPath-ResourceId"


@dataclass(frozen=True)
class Parameter:
    """One entry of parameters.json."""

    name: str
    alias: str | None
    displayName: str
    pattern: str
    default: str | None
    required: bool
    description: str

    def check(self, value: str) -> str:
        """Return `value`; raise UsageError if it doesn't match the pattern as a whole."""
        if not re.fullmatch(self.pattern, value):
            raise UsageError(f"--{self.name}: {value!r} is not valid. {self.description}")
        return value


PARAMETERS = tuple(Parameter(**entry) for entry in json.loads(FILE.read_text(encoding="utf-8")))


def add_flags(parser: argparse.ArgumentParser, *, resource_id: bool) -> None:
    """Add one flag per parameter, under exactly its name; the volume resource's id exists on V1 only."""
    group = parser.add_argument_group("connector's parameters")
    for parameter in PARAMETERS:
        if parameter.name == RESOURCE_ID and not resource_id:
            continue
        default = parameter.default or "none"
        text = f"{parameter.displayName}. {parameter.description} Default: {default}."
        group.add_argument(f"--{parameter.name}", dest=parameter.name, metavar="VALUE", help=text.replace("%", "%%"))


def given(args: argparse.Namespace) -> dict[str, str]:
    """Return the parameters given as flags, checked; raise UsageError for the first that is not valid."""
    values = {p.name: (p, getattr(args, p.name, None)) for p in PARAMETERS}
    return {name: p.check(value) for name, (p, value) in values.items() if value is not None}
