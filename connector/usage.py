"""The parser of every command line in this project: a usage error is one line that says what is wrong."""

from __future__ import annotations

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose usage errors are one line, `<command>: <what is wrong>`, and not the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with 2."""
        self.exit(2, f"{self.prog}: {message} {hint(self)}\n")


def hint(parser: argparse.ArgumentParser) -> str:
    """Return where the options are listed, for the end of a usage error."""
    return f"({parser.prog} --help lists the options)"
