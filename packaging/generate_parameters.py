#!/usr/bin/env python3
"""Write what is made from connector/config.py's parameters: python packaging/generate_parameters.py [--check]

parameters.json        all of it
greengrass_v2.yaml     each block between `# <parameters: BLOCK>` and `# </parameters>`
Markdown documents     the table between `<!-- parameters -->` and `<!-- /parameters -->`

With --check nothing is written: exit code 1, and each stale file is named.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Tuple

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))

from connector.config import PARAMETERS
from connector.flags import READ_BY_FUNCTION
from connector.usage import Parser

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("*.md", "connector/**/*.md", "packaging/**/*.md", ".github/**/*.md")

# AWS's own connector for Greengrass V1 requires these three; a configuration made for it has them.
REQUIRED = ("SampleIntervalSeconds", "ProcDestinationPath", "ProcDestinationPath-ResourceId")

# What the template adds to a description, and how it sets a variable otherwise than by its parameter's value.
TEMPLATE_NOTES = {
    "ProcDestinationPath": " Not used with NoContainer.",
    "MetricsTopic": " Here {thing} must be a whole level of the topic.",
    "ViolationsTopic": " Here {thing} must be a whole level of the topic.",
}
TEMPLATE_VALUES = {"ProcDestinationPath": "!If [InContainer, !Ref ProcDestinationPath, /proc]"}


def main(argv: Optional[List[str]] = None) -> int:
    """Write or check the files; return the exit code."""
    parser = Parser(prog="generate_parameters.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is stale")
    check = parser.parse_args(argv).check
    stale = [(path, text) for path, text in _generated(ROOT) if path.read_text(encoding="utf-8") != text]
    for path, text in stale:
        name = path.relative_to(ROOT)
        if check:
            print(f"{parser.prog}: {name} is stale: run python packaging/{parser.prog}", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"{name} written")
    return 1 if check and stale else 0


def _generated(root: Path) -> Iterator[Tuple[Path, str]]:
    """Yield each file that has something generated, and its text as it should be."""
    yield root / "packaging" / "parameters.json", _json()
    template = root / "packaging" / "greengrass_v2.yaml"
    yield template, _fill_template(template)
    for pattern in DOCUMENTS:
        for path in sorted(root.glob(pattern)):
            yield path, _fill_document(path)


def _json() -> str:
    entries = [
        {
            "name": parameter.name,
            "alias": parameter.alias,
            "displayName": parameter.title,
            "pattern": parameter.pattern,
            "default": parameter.default if parameter.allows(parameter.default) else None,
            "required": parameter.name in REQUIRED,
            "description": f"{parameter.description} Valid: {parameter.valid}.",
        }
        for parameter in PARAMETERS
    ]
    return json.dumps(entries, indent=2) + "\n"


def _template_names() -> List[str]:
    return [f"- {parameter.name}" for parameter in READ_BY_FUNCTION]


def _template_labels() -> List[str]:
    return [f"{parameter.name}: {{default: {json.dumps(parameter.title)}}}" for parameter in READ_BY_FUNCTION]


def _template_parameters() -> List[str]:
    lines = []
    for parameter in READ_BY_FUNCTION:
        note = TEMPLATE_NOTES.get(parameter.name, "")
        text = f"{parameter.description}{note} Valid: {parameter.valid}."
        lines += [
            f"{parameter.name}:",
            "  Type: String",
            f"  Default: {json.dumps(parameter.default)}",
            f"  AllowedPattern: {json.dumps(parameter.pattern)}",
            "  Description: >-",
            *textwrap.wrap(text, 114, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False),
        ]
    return lines


def _template_conditions() -> List[str]:
    empty = [parameter.name for parameter in READ_BY_FUNCTION if not parameter.default]
    return [f'With{name}: !Not [!Equals [!Ref {name}, ""]]' for name in empty]


def _template_variables() -> List[str]:
    """Return the function's environment. Like deploy.py it does not set what is empty by default and empty here."""
    lines = []
    for parameter in READ_BY_FUNCTION:
        name = parameter.name
        value = TEMPLATE_VALUES.get(name, f"!Ref {name}")
        if not parameter.default:
            value = f'!If [With{name}, {value}, !Ref "AWS::NoValue"]'
        lines.append(f"{name}: {value}")
    return lines


TEMPLATE_BLOCKS: Dict[str, Callable[[], List[str]]] = {
    "names": _template_names,
    "labels": _template_labels,
    "parameters": _template_parameters,
    "conditions": _template_conditions,
    "variables": _template_variables,
}


def _fill_template(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    for name, make in TEMPLATE_BLOCKS.items():
        text = _fill(path, text, f"# <parameters: {name}>", "# </parameters>", make())
    return text


def _fill_document(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    begin, end = "<!-- parameters -->", "<!-- /parameters -->"
    return _fill(path, text, begin, end, _table()) if re.search(f"^{begin}", text, re.MULTILINE) else text


def _table() -> List[str]:
    lines = ["| Name | Default | Valid | Meaning |", "|---|---|---|---|"]
    for parameter in PARAMETERS:
        default = f"`{parameter.default}`" if parameter.default else "empty"
        also = f" Also accepted as `{parameter.alias}`." if parameter.alias else ""
        cells = (f"`{parameter.name}`", default, parameter.valid, parameter.description + also)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def _fill(path: Path, text: str, begin: str, end: str, lines: List[str]) -> str:
    """Return the text with `lines` between the line that has `begin` and the next that has `end`, indented alike."""
    match = re.search(rf"^( *){re.escape(begin)}.*\n((?:.*\n)*?) *{re.escape(end)}", text, re.MULTILINE)
    if not match:
        name = path.relative_to(ROOT)
        raise SystemExit(
            f"generate_parameters.py: {name}: no lines {begin} and {end}: put them back where the block belongs"
        )
    block = "".join(f"{match.group(1)}{line}\n" for line in lines)
    return text[: match.start(2)] + block + text[match.end(2) :]


if __name__ == "__main__":
    sys.exit(main())
