"""What `detect.py try` takes for recordings: of one device for a year, and of fleets for a month. Run by recordings.sh.

Nothing here fails for being slow: targets and figures stand side by side in the table.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import psutil

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FLEET_DAYS = 30
POLL_SECONDS = 0.02


class Cost(NamedTuple):
    """What a run took. seconds: wall time; cpu: of all its processes; megabytes: resident in all of them, the peak."""

    seconds: float
    cpu: float
    megabytes: float


class Row(NamedTuple):
    """A line of the table.

    here, there: the figures of this build and of the other one, if it was measured
    target: an upper limit of the ratio of both or, with `is_absolute`, of this build's figure
    """

    what: str
    here: float
    there: Optional[float]
    target: float
    is_absolute: bool = False


def main() -> int:
    """Make the recordings, measure and write the table."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        rows = _measure(options, Path(folder), options.recordings or Path(folder))
    text = _table(rows, options)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "recordings.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="recordings.sh", description=__doc__)
    parser.add_argument("--baseline", type=Path, metavar="CHECKOUT", help="another build's checkout, to compare with")
    parser.add_argument("--name", default="the other build", help="what the table calls it")
    parser.add_argument("--days", type=int, default=365, help="of the one device (default: %(default)s)")
    parser.add_argument(
        "--devices", type=int, nargs="+", default=[10, 1000], help="of fleets, ascending (default: %(default)s)"
    )
    parser.add_argument("--repeat", type=int, default=3, help="runs of a device's recording; the fastest counts")
    parser.add_argument("--folder", type=Path, help="for the recordings, 10 GB (default: the temporary folder)")
    parser.add_argument(
        "--recordings",
        type=Path,
        metavar="FOLDER",
        help="keep the recordings here, and use those that are there",
    )
    parser.add_argument("--output", type=Path, default=HERE / "results", help="for the table (default: %(default)s)")
    return parser.parse_args()


def _measure(options: argparse.Namespace, folder: Path, recordings: Path) -> List[Row]:
    """folder: for what the runs write. recordings: for what they read."""
    year = _recorded(recordings / f"device-{options.days}", 1, options.days, "devices")
    (recording,) = year.iterdir()
    profiles = ROOT / "packaging" / "security_profiles"
    one = str(profiles / "DataExfiltration.json")
    text = _best(options.repeat, ROOT, folder, [one, "--reports", str(recording)])
    picture = _best(options.repeat, ROOT, folder, [one, "--reports", str(recording), "--picture", "year.svg"])
    page = _best(options.repeat, ROOT, folder, [one, "--reports", str(recording), "--page", "year.html"])
    before: Optional[Cost] = None
    if options.baseline:
        arguments = [one, "--reports", str(recording), "--picture", "before.svg"]
        before = _best(1, options.baseline, folder, arguments)
    rows = [
        Row(f"one device, {options.days} days, as text: seconds", text.seconds, before and before.seconds, 0.1),
        Row("the same, resident MB", text.megabytes, before and before.megabytes, 0.5),
        Row("the same with a picture: seconds", picture.seconds, before and before.seconds, 0.2),
        Row("the same with a page: seconds", page.seconds, before and before.seconds, 0.2),
        Row("picture, MB", (folder / "year.svg").stat().st_size / 1e6, None, 1, is_absolute=True),
        Row("page, MB", (folder / "year.html").stat().st_size / 1e6, None, 2, is_absolute=True),
    ]
    per_device: Dict[int, float] = {}
    for devices in options.devices:
        fleet = _recorded(recordings / f"fleet-{devices}", devices, FLEET_DAYS, "lines")
        cost = _run(ROOT, folder, [str(profiles), "--reports", str(fleet)])
        per_device[devices] = cost.seconds / devices
        what = f"{devices:,} devices, {FLEET_DAYS} days, all profiles"
        rows += [
            Row(f"{what}: seconds", cost.seconds, before and before.seconds, 12),
            Row(f"{what}: resident MB", cost.megabytes, None, 1000, is_absolute=True),
        ]
        if not options.recordings:
            _remove(fleet)
    if len(per_device) > 1:
        fewest, most = min(per_device), max(per_device)
        growth = per_device[most] / per_device[fewest]
        rows.append(
            Row(
                f"seconds a device with {most:,} devices, over those with {fewest:,}",
                growth,
                None,
                1.3,
                is_absolute=True,
            )
        )
    return rows


def _recorded(folder: Path, devices: int, days: int, layout: str) -> Path:
    """Return the folder with recordings, which are made unless it exists."""
    if folder.exists():
        return folder
    tool = ROOT / "tests" / "tools" / "make_fleet.py"
    arguments = ["--devices", str(devices), "--days", str(days), "--layout", layout]
    subprocess.run([sys.executable, str(tool), str(folder), *arguments], check=True, stdout=subprocess.DEVNULL)
    return folder


def _best(times: int, build: Path, folder: Path, arguments: Sequence[str]) -> Cost:
    return min(_run(build, folder, arguments) for _ in range(times))


def _run(build: Path, folder: Path, arguments: Sequence[str]) -> Cost:
    """Run `detect.py try` of a build's checkout in a folder."""
    command = [sys.executable, str(build / "packaging" / "detect.py"), "try", *arguments]
    begun = time.monotonic()
    before = os.times()
    with open(os.devnull, "wb") as nowhere:
        process = psutil.Popen(command, cwd=folder, stdout=nowhere)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident(process))
            time.sleep(POLL_SECONDS)
    seconds = time.monotonic() - begun
    after = os.times()
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(seconds, cpu, peak / 1e6)


def _resident(process: Any) -> int:
    """Return the resident bytes of a process and those it started."""
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:  # it ended while we looked
        pass
    return total


def _remove(folder: Path) -> None:
    subprocess.run(["rm", "-r", str(folder)], check=True)


def _table(rows: Sequence[Row], options: argparse.Namespace) -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    lines = [
        "# Recordings judged by `packaging/detect.py try`",
        "",
        f"On Python {version} with {os.cpu_count()} processors, start of the interpreter included. Resident memory is"
        " that of all processes together, at its peak. The other build always draws a picture, and takes one device and"
        " one profile, DataExfiltration; fleets are compared with that too. tests/tools/make_fleet.py makes the"
        " recordings.",
        "",
        f"| | this build | {options.name} | ratio | target | |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        there = ratio = met = ""
        compared = row.here if row.is_absolute else None
        if row.there is not None:
            compared = row.here / row.there
            there, ratio = f"{row.there:,.2f}", f"{compared:.2f}"
        if compared is not None:
            met = "met" if compared <= row.target else "missed"
        lines.append(f"| {row.what} | {row.here:,.2f} | {there} | {ratio} | {row.target:g} | {met} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
