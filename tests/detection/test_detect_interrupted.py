"""detect.py ended by Ctrl-C or by a full disk: at once, with one line at most, and nothing half-written is left."""

from __future__ import annotations

import dataclasses
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import matplotlib.figure
import pytest
from detection import recordings, replay
from support.detect_tool import INCIDENT, ORDINARY, PROFILES, ROOT, run
from support.fleet_files import compact

TOOL = [sys.executable, str(ROOT / "packaging" / "detect.py")]
PROFILE = PROFILES / "RemoteManagementPorts.json"


def interrupted(*arguments: Any, **options: Any) -> Any:
    raise KeyboardInterrupt


def full(*arguments: Any, **options: Any) -> Any:
    raise OSError(28, "No space left on device")


def test_ctrl_c_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "read", interrupted)
    assert run("suggest", "--reports", ORDINARY) == 130


def test_ctrl_c_in_a_query_is_exit_code_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What DuckDB raises then is this, not KeyboardInterrupt."""

    def judge(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("Query interrupted")

    monkeypatch.setattr(replay, "replay", judge)
    assert run("try", PROFILE, "--reports", INCIDENT) == 130
    assert capsys.readouterr().err == ""


def test_ctrl_c_ends_the_processes_that_read(tmp_path: Path) -> None:
    """As from a terminal, which interrupts them, too: they say nothing, and nobody waits for them."""
    line = compact({"header": {"report_id": 1767600000}, "custom_metrics": {"a": [{"number": 1}]}}) + b"\n"
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / "reports.jsonl").write_bytes(line * (2 * recordings.MIN_PARALLEL_BYTES // len(line)))
    process = subprocess.Popen(
        [*TOOL, "try", str(PROFILE), "--reports", str(tmp_path / "reports.jsonl")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(kept)},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not any(kept.rglob("part-*.parquet")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == 130
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize(("fault", "code"), [(interrupted, 130), (full, 2)])
@pytest.mark.parametrize("name", ["p.html", "p.svg"])
def test_page_and_picture_are_written_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, fault: Any, code: int
) -> None:
    def begin(self: Any, file: Path, *arguments: Any, **options: Any) -> None:
        with open(file, "w") as output:
            output.write("<")
            fault()

    path = tmp_path / name
    path.write_text("from the run before")
    monkeypatch.setattr(Path, "write_text", lambda self, *_, **__: begin(None, self))
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", begin)
    option = "--page" if name == "p.html" else "--picture"
    assert run("try", PROFILE, "--reports", INCIDENT, option, path) == code
    assert path.read_text() == "from the run before"
    assert list(tmp_path.iterdir()) == [path]


def test_page_goes_where_a_link_leads_and_to_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "shown").mkdir()
    (tmp_path / "p.html").symlink_to(tmp_path / "shown" / "p.html")
    assert run("try", PROFILE, "--reports", INCIDENT, "--page", tmp_path / "p.html") == 0
    assert (tmp_path / "shown" / "p.html").read_text().startswith("<!DOCTYPE html>")
    assert (tmp_path / "p.html").is_symlink()
    assert run("try", PROFILE, "--reports", INCIDENT, "--page", os.devnull) == 0
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize(("fault", "code"), [(interrupted, 130), (full, 2)])
def test_profile_is_written_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: Any, code: int
) -> None:
    """What is left would be in the way of the next run, which overwrites nothing."""
    monkeypatch.setattr("detect.json.dumps", fault)
    assert run("suggest", "--force", "--reports", ORDINARY) == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["Ctrl-C", "a full disk"])
def test_folder_of_parquet_is_written_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, fault: str
) -> None:
    """A limit on the size of a file stands for the disk."""
    write = recordings.Recordings.write

    def begin(self: recordings.Recordings, folder: Path) -> None:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            write(self, folder)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    def begin_interrupted(self: recordings.Recordings, folder: Path) -> None:
        write(dataclasses.replace(self, connection=cast(Any, Interrupted(folder))), folder)

    monkeypatch.setattr(recordings.Recordings, "write", begin_interrupted if fault == "Ctrl-C" else begin)
    assert run("try", PROFILE, "--reports", INCIDENT, "--parquet", "copy") == (130 if fault == "Ctrl-C" else 2)
    assert capsys.readouterr().err == ("" if fault == "Ctrl-C" else "detect.py: copy: File too large\n")
    assert list(tmp_path.iterdir()) == []


class Interrupted:
    """A connection to DuckDB whose query is interrupted while it writes into a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def execute(self, query: str) -> None:
        (self._folder / "reports.parquet").write_text("PAR1")
        raise RuntimeError("Query interrupted")

    def close(self) -> None:
        pass


@pytest.mark.parametrize("option", ["--all", "--json"])
def test_output_that_cannot_be_written_is_said(option: str) -> None:
    """Not that the folder of temporary files is full, which has the same error."""
    with open("/dev/full", "w") as full_disk:
        result = subprocess.run(
            [*TOOL, "try", str(PROFILE), "--reports", str(INCIDENT), option],
            stdout=full_disk,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert (result.returncode, result.stderr) == (1, "detect.py: standard output: No space left on device\n")


@pytest.mark.parametrize(
    ("arguments", "closed", "code", "error"),
    [
        (["try", PROFILE, "--reports", INCIDENT, "--json"], ">&-", 0, ""),
        (["try", PROFILE, "--reports", INCIDENT], ">&-", 0, ""),
        (["watch", "-"], "<&-", 2, "detect.py: standard input is closed\n"),
    ],
)
def test_closed_standard_stream_is_no_traceback(arguments: list[Any], closed: str, code: int, error: str) -> None:
    """As of a program that a service manager starts without them."""
    command = ["sh", "-c", f'exec "$0" "$@" {closed}', *TOOL, *map(str, arguments)]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    assert (result.returncode, result.stderr) == (code, error)
