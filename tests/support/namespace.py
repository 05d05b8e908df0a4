"""Network namespaces for tests, if the kernel permits them."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, List, Optional

SCENES = Path(__file__).resolve().parent / "scene.py"
ATTACKS = SCENES.with_name("attack_scene.py")


def unshare() -> List[str]:
    """Return the command that runs another one as process 1 of a host of its own: network, processes, mounts, /proc."""
    mapped = ["--map-root-user"] if os.geteuid() != 0 else []
    return ["unshare", *mapped, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


@functools.lru_cache(maxsize=None)
def refusal() -> Optional[str]:
    """Return why network namespaces can't be made here, or None."""
    try:
        for command in (
            ["ip", "-V"],
            [*unshare(), "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"],
        ):
            subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    except OSError as error:
        return f"no unshare or no ip: {error}"
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not permitted: {error.stderr.decode().strip()}"
    return None


def play(scene: str, *arguments: str, script: Path = SCENES) -> Any:
    """Run a scene of a script on a host of its own; return what it prints, decoded from JSON."""
    command = [*unshare(), sys.executable, str(script), scene, *arguments]
    done = subprocess.run(command, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout.decode())
