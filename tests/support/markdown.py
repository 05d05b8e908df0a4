"""Reads the repository's Markdown: which documents there are, their code blocks, headings, links and quoted names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
SKIPPED_FOLDERS = {".git", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", "build", "dist"}

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Link(NamedTuple):
    """target: a path or URL, empty for a place in the same document. anchor: what follows the #, or empty."""

    target: str
    anchor: str


def documents() -> list[str]:
    """Return the paths of all Markdown files, relative to the root."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        found += [Path(folder, name).relative_to(ROOT).as_posix() for name in names if name.endswith(".md")]
    return sorted(found)


def text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str) -> list[tuple[str, str]]:
    """Return the fenced blocks: language and content."""
    return FENCE.findall(text(document))


def prose(document: str) -> str:
    """Return the document without its fenced blocks."""
    return FENCE.sub("", text(document))


def commands(document: str) -> list[str]:
    """Return the commands of the `sh` blocks: continued lines joined, comments and indented lines of loops kept out."""
    found = []
    for language, block in blocks(document):
        if language == "sh":
            for line in block.replace("\\\n", " ").splitlines():
                command = re.sub(r"(^|\s)#.*", "", line)
                if command.strip():
                    found.append(re.sub(r"\s+", " ", command.strip()))
    return found


def quoted(document: str) -> list[str]:
    """Return what stands in backticks outside the fenced blocks; a line break inside is one space."""
    return [re.sub(r"\s+", " ", name) for name in re.findall(r"`([^`]+)`", prose(document))]


def links(document: str) -> Iterator[Link]:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        path, _, anchor = target.partition("#")
        yield Link(path, anchor)


def anchors(document: str) -> set[str]:
    """Return the anchors that GitHub makes of the document's headings."""
    made: list[str] = []
    for heading in re.findall(r"^#+ +(.*?) *#*$", prose(document), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        made.append(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    # GitHub gives the second heading of the same words the ending -1.
    return {f"{name}-{made[:place].count(name)}" if name in made[:place] else name for place, name in enumerate(made)}
