"""The parser of every command line in this project: a usage error is one line that says what is wrong."""

from __future__ import annotations

import argparse
from typing import Any, List, NoReturn


class Help(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of description and epilog, and breaks the help of an option only between words."""

    def _split_lines(self, text: str, width: int) -> List[str]:
        import textwrap  # only for a help: nothing else on the device needs it

        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False, break_long_words=False)


class Parser(argparse.ArgumentParser):
    """A parser whose usage errors are one line, `<command>: <what is wrong>`, and not the whole usage."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"formatter_class": Help, **options})

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with 2."""
        self.exit(2, f"{self.prog}: {message} {hint(self)}\n")


def hint(parser: argparse.ArgumentParser) -> str:
    """Return where the options are listed, for the end of a usage error."""
    return f"({parser.prog} --help lists the options)"
