"""The component's process when nobody reads its output any more, as after a crash of the daemon that keeps the log."""

import subprocess
import sys
from pathlib import Path

import local_core
from support.nucleus import WatchedNucleus

ROOT = Path(__file__).resolve().parents[2]
START = Path(local_core.__file__).with_name("runtime") / "component_start.py"


def test_a_closed_output_does_not_end_it(tmp_path: Path) -> None:
    """A component that SIGPIPE ends counts as well for systemd: nucleus lite would not start it again."""
    with WatchedNucleus(interval=1, configuration={"LogLevel": "DEBUG"}) as nucleus:
        process = subprocess.Popen(
            [sys.executable, "-u", str(START), "1", "connector", "component"],
            cwd=str(tmp_path),
            env={**nucleus.new_environment(), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        try:
            nucleus.wait_for_delivery()
            process.stdout.close()
            for _ in range(3):  # each with a line in the log
                nucleus.wait_for_delivery()
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
