"""Documents name only what exists: links and their anchors, files, tests, and lines of the log."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from glob import glob
from pathlib import Path

import pytest
from support.markdown import ROOT, anchors, documents, links, prose, quoted, text

MAX_README_LINES = 200

SUFFIXES = "cfg|hex|json|md|py|service|sh|svg|toml|txt|yaml|yml"

# Files that a command of the same document writes, or that are somebody else's.
NOT_OURS = {
    "agent.py",
    "Gateway.json",
    "DataExfiltration.svg",
    "DataExfiltration.resolved.json",
    "connector.toml",
    "gdk-config.json",
    "samconfig.toml",
    "mock.py",
    "_transports/base.py",
}


def test_readme_is_short() -> None:
    lines = len(text("README.md").splitlines())
    assert lines <= MAX_README_LINES, f"README.md has {lines} lines: move some to the README beside the code"


@pytest.mark.parametrize("document", documents())
def test_links_lead_somewhere(document: str) -> None:
    for link in links(document):
        if "://" in link.target or link.target.startswith("mailto:"):
            continue
        path = (ROOT / document).parent / link.target if link.target else ROOT / document
        assert path.exists(), f"{document}: there is no {link.target}"
        if link.anchor:
            target = path.resolve().relative_to(ROOT).as_posix()
            assert link.anchor in anchors(target), f"{document}: {target} has no heading for #{link.anchor}"


def exists(path: str, pattern: str, folder: Path) -> bool:
    """Return whether the file is there from the root, from the document's folder, those beside, above or below."""
    if (folder / path).exists() or any(
        glob(str(place / pattern)) for place in (ROOT, folder, folder.parent, folder.parent / "*")
    ):
        return True
    return folder != ROOT and any(folder.rglob(pattern))


@pytest.mark.parametrize("document", documents())
def test_named_files_exist(document: str) -> None:
    folder = (ROOT / document).parent
    for name in quoted(document):
        for word in name.split():
            if re.fullmatch(rf"(\.{{0,2}}/)?[\w.*<>-]+(/[\w.*<>-]+)*(\.({SUFFIXES})|/)(::\w+)?", word):
                path = word.partition("::")[0]
                if path in NOT_OURS or path.startswith(("/", "dist/", "build/", "$")):
                    continue
                pattern = re.sub(r"<[^>]*>", "*", path.lstrip("/").removeprefix("./"))
                assert exists(path, pattern, folder), f"{document}: there is no {path}"


@pytest.mark.parametrize("document", documents())
def test_named_tests_exist(document: str) -> None:
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", prose(document)):
        assert re.search(rf"^ *def {name}\(|^class {name}\b|^{name} = ", text(path), re.MULTILINE), (
            f"{path} has no {name}"
        )


@pytest.mark.parametrize("document", documents())
def test_named_parts_of_a_module_exist(document: str) -> None:
    """`PARAMETERS` in `connector/config.py`: names in capitals are those of constants in the code."""
    for name in quoted(document):
        if re.fullmatch(r"[A-Z][A-Z_]{5,}", name) and name not in {"DEBUG", "WARNING", "ESTABLISHED", "PYTHON"}:
            assert name in sources(), f"{document}: the code has no {name}"


@lru_cache(maxsize=1)
def sources() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in source_files())


def source_files() -> list[Path]:
    folders = [ROOT / name for name in ("connector", "packaging", "tests")]
    return [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".sh", ".yaml")]


@lru_cache(maxsize=1)
def constant_texts() -> str:
    """Return the texts in the connector's code, joined as Python joins them, one per line."""
    found = []
    for path in (ROOT / "connector").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(str(p.value) if isinstance(p, ast.Constant) else "\0" for p in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def is_logged(fragment: str) -> bool:
    """Return whether the code has the text, whole or as two parts, such as "the core" and "did not answer in"."""
    words = fragment.split()
    splits = [(" ".join(words[:place]), " ".join(words[place:])) for place in range(2, len(words) - 1)]
    return fragment in constant_texts() or any(all(part in constant_texts() for part in parts) for parts in splits)


@pytest.mark.parametrize(
    ("document", "section", "at_least"),
    [("README.md", "## Troubleshooting", 6), ("connector/README.md", "## Less frequent faults", 4)],
)
def test_troubleshooting_quotes_the_log_as_the_code_writes_it(document: str, section: str, at_least: int) -> None:
    """Numbers, "..." and `: ` stand where the code fills something in."""
    after = text(document).partition(section + "\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \|", after, re.MULTILINE)
    quotes = [quote for row in rows for quote in re.findall(r"`([^`]+)`", row) if quote.count(" ") > 1]
    assert len(quotes) >= at_least
    for quote in quotes:
        for fragment in re.split(r"\.\.\.|: | s$|\d+", quote):
            if fragment.strip():
                assert is_logged(fragment.strip()), f"the code logs no {fragment.strip()!r} ({quote!r})"
