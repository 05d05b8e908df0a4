"""Small hosts under fixtures/cases/: a folder each with proc trees and the right values in `expected.json`.

The trees are read one after the other, `before`, `between` and `after`, or there is only one, `tree`. `expected.json`
has `about`, what the case is, and of the last report: `network_stats` (null: left out), `metrics` and `custom_metrics`
(the blocks that are listed must be equal), `problems` (the names of those that are logged; without it there are none).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Dict, Mapping

import pytest
from support import proc
from support.fixtures import CASES

from connector.report import build
from connector.traffic import Traffic

TREES = ("before", "between", "after", "tree")


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.iterdir()))
def test_last_report_of_a_case_has_the_right_values(name: str, tmp_path: Path) -> None:
    expected: Dict[str, Any] = json.loads((CASES / name / "expected.json").read_text())
    custom = tuple(expected.get("custom_metrics", ()))
    mount = tmp_path / "proc"  # the same for each tree, as on a device
    traffic, cpu = Traffic(), None
    report: Dict[str, Any] = {}
    problems: Mapping[str, str] = {}
    for tree in TREES:
        if not (CASES / name / tree).is_dir():
            continue
        shutil.rmtree(str(mount), ignore_errors=True)
        shutil.copytree(str(CASES / name / tree), str(mount))
        snapshot = proc.look(mount, custom=custom)
        traffic = traffic.observe(snapshot)
        carried = traffic.carry(snapshot)
        report = build(snapshot, 1, carried, cpu) or {}
        problems = {**snapshot.problems, **traffic.problems}
        traffic, cpu = traffic.delivered(carried), snapshot.cpu
    assert report, "no tree, or nothing in it"
    assert sorted(problems) == sorted(expected.get("problems", [])), problems
    if "network_stats" in expected:
        assert report["metrics"].get("network_stats") == expected["network_stats"]
    for block, content in expected.get("metrics", {}).items():
        assert report["metrics"][block] == content
    for metric, value in expected.get("custom_metrics", {}).items():
        assert report["custom_metrics"][metric] == [{"number": value}]
