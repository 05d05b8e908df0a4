"""Each command in an `sh` block of any document is run by a test, or is listed here with what runs it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest
from support.markdown import ROOT, blocks, commands, documents

# Documents of which every command is run, or accounted for, by the file test_*readme.py in the folder of their tests.
RUN_WHOLE = {
    "packaging/deployment/README.md": "tests/deployment",
    "packaging/detection/README.md": "tests/detection",
    "packaging/systemd/README.md": "tests/direct",
}

# Run here: they print, write nothing, and end within seconds.
RUN_HERE = ["python3 -m connector"]

# Command -> the file that runs it, and what stands there for it.
RUN_ELSEWHERE = {
    "python3 -m connector -n 2 -s 10": ("tests/connector/test_command_line.py", '"-n", "2"'),
    "python3 -m connector run --dry-run --once": ("tests/direct/test_run.py", '"--dry-run", "--once"'),
    "./packaging/run_local.sh --once": (".ci/run", "./packaging/run_local.sh --once"),
    "./packaging/run_local.sh --native --once": (".ci/run", "./packaging/run_local.sh --native --once"),
    "./tests/run.sh": (".ci/run", "tests/run.sh"),
    "./build_zip.sh": (".ci/run", "./build_zip.sh"),
    "./build_zip.sh --python 3.8 --arch aarch64": ("tests/zip/test_build_zip.py", "--arch"),
    "./build_zip.sh --all": ("tests/zip/test_build_zip.py", "--all"),
    "python packaging/detect.py try packaging/security_profiles --reports reports.jsonl --page alarms.html": (
        "tests/detection/test_page_browser.py",
        '"--page", "page.html"',
    ),
    ".ci/run lint": (".ci/run", "lint"),
    ".ci/run test 3.8": (".ci/run", "test"),
    "./tests/run.sh tests/connector/test_config.py -k default": ("tests/run.sh", '"$@"'),
    "./tests/run.sh -n 0 --pdb tests/connector/test_config.py": ("tests/run.sh", '"$@"'),
    "PYTHON=python3.8 ./tests/run.sh": ("tests/run.sh", "PYTHON"),
}

# Too long, or too dear, for a test. Each has its reason.
RUN_BY_A_PERSON = {
    "tests/bench/run.sh": "takes minutes, and its figures would differ on every machine",
    ".ci/run": "runs this test",
}

LANGUAGES = {"sh", "text", "json", "yaml", "toml", "ini", "python", ""}


def every_command() -> list[tuple[str, str]]:
    return [
        (document, part)
        for document in documents()
        if document not in RUN_WHOLE
        for command in commands(document)
        for part in command.split(" && ")
    ]


def of_documents_run_whole() -> set[str]:
    return {part for document in RUN_WHOLE for command in commands(document) for part in command.split(" && ")}


@pytest.mark.parametrize(("document", "command"), every_command())
def test_command_is_accounted_for(document: str, command: str) -> None:
    known = {*RUN_HERE, *RUN_ELSEWHERE, *RUN_BY_A_PERSON, *of_documents_run_whole()}
    assert command in known, f"{document}: nothing runs {command!r}: run it in a test, and list it in {__file__}"


@pytest.mark.parametrize(("document", "command"), every_command())
def test_command_names_files_that_exist(document: str, command: str) -> None:
    words = shlex.split(command)
    if "/" in words[0]:
        assert os.access(ROOT / words[0], os.X_OK), f"{document}: {words[0]} can't be run"
    for word in words[1:]:
        if re.match(r"(connector|packaging|tests)/", word):
            assert (ROOT / word).exists(), f"{document}: there is no {word}"


@pytest.mark.parametrize(("document", "command"), every_command())
def test_flags_of_the_tools_exist(document: str, command: str) -> None:
    words = shlex.split(command)
    if words[0] != "python" or "packaging/" not in words[1]:
        return
    tool = words[1]
    verbs = [word for word in words[2:4] if re.fullmatch("[a-z0-9]+", word)]
    run = subprocess.run(
        [sys.executable, tool, *verbs, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    for word in words[2:]:
        if word.startswith("--"):
            assert re.search(rf"(?<![\w-]){word}(?![\w-])", run.stdout), f"{document}: {tool} {verbs} knows no {word}"


@pytest.mark.parametrize("command", RUN_HERE)
def test_command_runs(command: str) -> None:
    words = shlex.split(command)
    run = subprocess.run(
        [sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert (words[0], run.returncode) == ("python3", 0), run.stderr
    assert run.stdout.startswith('{"header":')


@pytest.mark.parametrize(("command", "path", "fragment"), [(key, *value) for key, value in RUN_ELSEWHERE.items()])
def test_the_file_that_runs_a_command_does(command: str, path: str, fragment: str) -> None:
    assert fragment in (ROOT / path).read_text(encoding="utf-8"), f"{path} does not run {command}"


@pytest.mark.parametrize(("document", "folder"), RUN_WHOLE.items())
def test_a_document_run_whole_is_read_by_its_test(document: str, folder: str) -> None:
    assert commands(document)
    (path,) = (ROOT / folder).glob("test_*readme.py")
    named = rf'"{document.split("/")[-2]}" ?/ ?"README.md"|{re.escape(document)}'
    assert re.search(named, path.read_text(encoding="utf-8")), f"{path} does not read {document}"


def test_no_list_names_a_command_that_no_document_has() -> None:
    written = {command for _, command in every_command()}
    assert {*RUN_HERE, *RUN_ELSEWHERE, *RUN_BY_A_PERSON} - written == set()


@pytest.mark.parametrize("document", documents())
def test_commands_are_in_sh_blocks(document: str) -> None:
    """So that none hides from the tests above in a block of another language."""
    for language, content in blocks(document):
        assert language in LANGUAGES, f"{document}: {language}"
        if language in ("text", ""):
            assert not re.search(r"^(\$ |(sudo|python3?|pip|aws|\./)\b)", content, re.MULTILINE), (
                f"{document}: {content}"
            )
