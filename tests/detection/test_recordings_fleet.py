"""The made-up fleet of tests/tools/make_fleet.py: every layout holds the same reports, and they are read."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
from detection import recordings
from detection.recordings import Source

sys.path.insert(1, str(Path(__file__).parents[1]))

from tools import make_fleet

DEVICES, REPORTS = 8, 8 * 288


def make(folder: Path, *options: str) -> Path:
    assert make_fleet.main([str(folder), "--devices", str(DEVICES), "--days", "1", "--processes", "1", *options]) == 0
    return folder


def digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return found.hexdigest()


@pytest.mark.parametrize("options", [["--layout", name] for name in make_fleet.LAYOUTS] + [["--gzip"]], ids=" ".join)
def test_each_layout_is_read_whole(tmp_path: Path, options: list[str]) -> None:
    folder = make(tmp_path / "fleet", *options)
    (tmp_path / "rows").mkdir()
    found = recordings.read(Source((str(folder),)), tmp_path / "rows", processes=1)
    assert (found.account.kept, found.account.found, found.account.things) == (REPORTS, REPORTS, DEVICES)
    attacked = found.connection.execute(
        "SELECT DISTINCT thing FROM reports WHERE list_contains(tcp_ports, 4444)"
    ).fetchall()
    assert attacked == [("gateway-0007",)]


def test_same_arguments_give_the_same_fleet(tmp_path: Path) -> None:
    same = [digest(make(tmp_path / name, "--gzip")) for name in "ab"]
    assert same[0] == same[1] != digest(make(tmp_path / "c", "--gzip", "--seed", "2"))
