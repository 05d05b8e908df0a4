"""What judging on the device costs: one sample with and without security profiles, and all of it in 16 MB.

    python tests/bench/alarms.py [--sizes N ...] [--rounds N] [--zip ZIP]

Samples of the variants take turns in one process; what counts are the ratios of the medians. Writes
results/alarms.md. Nothing here fails for being slow: targets and figures are side by side in the table.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Sequence

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "packaging"), str(ROOT / "tests")]

from bench.cgroup import MemoryGroup, Unavailable  # noqa: E402
from bench.load import Load  # noqa: E402
from local_core import FunctionError, LocalCore  # noqa: E402
from support.namespace import refusal, unshare  # noqa: E402

from connector import profiles  # noqa: E402
from connector.alarms import measured  # noqa: E402
from connector.config import CUSTOM_METRICS, DEFAULT_EXCLUDE  # noqa: E402
from connector.detect.engine import Detector  # noqa: E402
from connector.detect.metrics import DESTINATIONS  # noqa: E402
from connector.detect.profile import Profile, parse  # noqa: E402
from connector.encode import encode  # noqa: E402
from connector.report import build  # noqa: E402
from connector.snapshot import Wanted, take  # noqa: E402

LIMIT_BYTES = 16 << 20  # what a core gives a function by default
CYCLES = 20
SOURCES = {"sock_diag (shared network)": "/proc", "tables (own network)": "/nothing"}
SHIPPED = sorted(path.stem for path in (ROOT / "packaging" / "security_profiles").glob("*.json"))
UNKNOWN = {
    "securityProfileName": "Unknown",
    "behaviors": [
        {
            "name": "AllOfThem",
            "metric": DESTINATIONS,
            "criteria": {"comparisonOperator": "in-cidr-set", "value": {"cidrs": ["203.0.113.0/24"]}},
        }
    ],
}


class Variant(NamedTuple):
    """name: in the table. profiles: to judge by. target: the most that it may cost, times the sample without."""

    name: str
    profiles: Sequence[Profile]
    target: float


def variants() -> List[Variant]:
    """Return what is compared; the first judges nothing."""
    shipped = profiles.load(SHIPPED).usable
    without = [profile for profile in shipped if DESTINATIONS not in {one.metric for one in profile.behaviors}]
    return [
        Variant("no profiles", [], 1.0),
        Variant("shipped profiles without destination rules", without, 1.15),
        Variant("all shipped profiles", shipped, 2.5),
        Variant("and every destination unknown", [*shipped, parse(UNKNOWN)], 2.5),
    ]


def sampler(used: Sequence[Profile], own: str) -> Callable[[], float]:
    """Return what takes a sample as the function does, judges it, and returns the CPU seconds."""
    wanted = Wanted("/proc", 50, tuple(DEFAULT_EXCLUDE.split(",")), ())
    detector = Detector(used, "bench") if used else None
    if detector is not None:
        wanted = wanted._replace(all_ports=True, all_destinations=DESTINATIONS in detector.needs)
    rng = random.Random(1)
    now = [1_700_000_000]

    def sample() -> float:
        begun = time.process_time()
        snapshot = take(wanted, rng, own)
        now[0] += 300
        if detector is not None:
            detector.judge(measured(snapshot, None, None), now[0])
        encode(build(snapshot, now[0]) or {}, "json")
        return time.process_time() - begun

    return sample


def costs(size: int, rounds: int) -> List[str]:
    """Return the rows of the table for one number of sockets."""
    rows = []
    with Load(size):
        for source, own in SOURCES.items():
            samplers = [(variant, sampler(variant.profiles, own)) for variant in variants()]
            spent: Dict[str, List[float]] = {variant.name: [] for variant, _ in samplers}
            for number in range(rounds + 1):
                for variant, sample in samplers:
                    cpu = sample()
                    if number:  # the first warms up
                        spent[variant.name].append(cpu)
            base = statistics.median(spent["no profiles"])
            for variant, _ in samplers:
                cpu = statistics.median(spent[variant.name])
                rows.append(
                    f"| {size:,} | {source} | {variant.name} | {1000 * cpu:.1f} | {cpu / base:.2f}x"
                    f" | {variant.target:g}x |"
                )
    return rows


def in_16_mb(artifact: Path, sockets: int) -> str:
    """Run the function with everything on in a memory cgroup; return in a sentence what became of it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        directory = Path(temporary)
        directory.chmod(0o755)
        (directory / "unknown.json").write_text(json.dumps(UNKNOWN))
        state = directory / "state"
        state.mkdir()
        environment = {
            "CustomMetrics": ",".join(CUSTOM_METRICS),
            "MaxListSize": "500",
            "SecurityProfiles": ",".join([*SHIPPED, str(directory / "unknown.json")]),
            "StateDirectory": str(state),
        }
        try:
            with MemoryGroup(LIMIT_BYTES) as group, Load(sockets):
                core = LocalCore(artifact, interval=1, environment=environment)
                path = group.wrap(core.interpreter.path, directory / "python")
                core.interpreter = core.interpreter._replace(path=path)
                reports = most = 0
                try:
                    with core:
                        while reports < CYCLES:
                            reports += core.wait_for_delivery().verdict is not None
                            most = max(most, group.anonymous)
                        events = len(core.violations)
                except FunctionError as error:
                    return f"{'killed' if group.kills else f'ended ({error.reason})'} after {reports} reports"
        except Unavailable as error:
            return f"not measured: {error}"
    return f"{reports} reports, {events} events, {most / 2**20:.1f} MB that can't be taken back"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 18_000, 36_000], metavar="N")
    parser.add_argument("--rounds", type=int, default=15, metavar="N")
    parser.add_argument("--zip", type=Path, help="a built zip (default: build one)")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "alarms.md")
    parser.add_argument("--here", action="store_true", help="in this network, not in one of its own without sockets")
    options = parser.parse_args()
    if options.zip is None:
        built = subprocess.run(
            [str(ROOT / "build_zip.sh"), "--python", "{}.{}".format(*sys.version_info[:2])],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        options.zip = Path(built.stdout.splitlines()[-1].split()[0])
    if not options.here and refusal() is None:
        command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--here", "--zip", str(options.zip)]
        inside = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command]
        return subprocess.run([*unshare(), *inside], check=False).returncode
    lines = [
        "# What judging on the device costs",
        "",
        f"Python {sys.version.split()[0]}. Established sockets on loopback, half IPv4, half IPv6.",
        "A sample is reading the tables, judging, building and encoding the report.",
        "",
        "| sockets | read from | judged by | CPU, ms | times | target |",
        "|---|---|---|---|---|---|",
    ]
    for size in options.sizes:
        print(f"{size:,} sockets ...", file=sys.stderr, flush=True)
        lines += costs(size, options.rounds)
    sockets = max(options.sizes)
    print(f"{sockets:,} sockets in 16 MB ...", file=sys.stderr, flush=True)
    lines += [
        "",
        f"The whole function in a memory cgroup of 16 MB with {sockets:,} sockets, all shipped profiles and",
        "one that every destination violates, all custom metrics, lists of 500, a StateDirectory:",
        f"{in_16_mb(options.zip, sockets)}.",
    ]
    text = "\n".join(lines) + "\n"
    options.output.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
