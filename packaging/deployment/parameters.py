"""The connector's parameters (connector/config.py) for deploy.py: as flags, and checked where a file names them."""

from __future__ import annotations

import argparse
from pathlib import Path

from connector import config, flags, parameter
from connector.config import RESOURCE_ID
from connector.flags import given
from deployment.errors import UsageError

__all__ = ["PARAMETERS", "RESOURCE_ID", "Parameter", "add_flags", "given"]


class Parameter(parameter.Parameter):
    """A parameter whose invalid values are the caller's error."""

    def check(self, value: str) -> str:
        """Return `value`; raise UsageError if it is invalid."""
        if not self.allows(value):
            raise UsageError(f"{self.name}: {value!r} is not valid: {self.valid}")
        return value


PARAMETERS = tuple(Parameter(*described) for described in config.PARAMETERS)


def add_flags(parser: argparse.ArgumentParser, *, resource_id: bool) -> None:
    """Add a flag for each parameter, and one for the files of profiles.

    resource_id: also for the id of the volume, which only V1 groups have
    """
    flags.add_flags(parser, config.PARAMETERS if resource_id else flags.READ_BY_FUNCTION)
    # Here the second spelling of SecurityProfiles is this flag's, which takes files.
    parser.add_argument_group(conflict_handler="resolve").add_argument(
        "--security-profiles",
        nargs="+",
        action="extend",
        type=Path,
        metavar="FILE",
        help="put these security profiles into the zip, and their names into SecurityProfiles",
    )
