"""Other processes read large recordings: each about as much as the others, and with as few imports as it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import detect
import pyarrow.parquet
import pytest
from detection import recordings

BEGIN = 1767225600

# What takes long to import, and what a process that reads has no use for.
NEEDLESS = "argparse botocore concurrent.futures detection.recordings detection.watch duckdb ibis numpy tqdm"


def test_large_file_is_divided_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "MIN_TASK_BYTES", 1)
    lines = [
        json.dumps({"header": {"report_id": BEGIN + number}, "metrics": {"network_stats": {"bytes_in": number}}})
        for number in range(4000)
    ]
    (tmp_path / "r.jsonl").write_text("\n".join(lines) + "\n")
    rows = tmp_path / "rows"
    rows.mkdir()
    found = recordings.read(recordings.Source((str(tmp_path / "r.jsonl"),)), rows, processes=2)
    found.connection.close()
    sizes = [pyarrow.parquet.read_metadata(part).num_rows for part in rows.glob("part-*")]
    assert len(sizes) == 2 * recordings.TASKS
    assert sum(sizes) == found.account.kept == 4000
    assert max(sizes) < 1.1 * min(sizes)


def test_process_that_reads_imports_little(tmp_path: Path) -> None:
    """As multiprocessing starts it: it runs the file of the command, under another name, and then its task."""
    (tmp_path / "r.jsonl").write_text('{"header": {"report_id": 1}, "metrics": {}}\n')
    script = f"""
import runpy, sys
from pathlib import Path
sys.path.insert(0, {str(Path(detect.__file__).parent)!r})
runpy.run_path({detect.__file__!r}, run_name="__mp_main__")
from detection import sniff, spans, worker
worker.prepare()
(file,) = sniff.find(["r.jsonl"])
assert worker.read([spans.Span(file, 0, "r")], Path("part"), None).kept == 1
print(*(name for name in {NEEDLESS.split()!r} if sys.modules.get(name)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []
