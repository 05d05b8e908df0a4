"""The built zip as a core's function: the process of an ordinary user, with the mounts that a test wants.

Where root runs the tests, the function gets a mount namespace of its own and is nobody's. So an interpreter in a
directory that only root may enter is no hindrance, and a proc tree of the test's lies at a path of one level, as
ProcDestinationPath asks. Anybody else's function runs as they do, on the machine's /proc.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, List, Optional

from local_core import Delivery, LocalCore

from support.threads import LONG
from support.user import NOBODY

ROOT = Path(__file__).resolve().parents[2]
PROC = "/mnt"  # where a test's proc tree is for the function
INTERPRETER = Path(sys.executable).resolve()


@functools.lru_cache(maxsize=None)
def built_zip(native: bool = False) -> Path:
    """Return the zip for the running Python and this machine; the workers of pytest-xdist share one.

    native: that of the native component
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"process {os.getpid()}")
    folder = ROOT / "build"
    folder.mkdir(exist_ok=True)
    with open(folder / f"tests-{sys.version_info[1]}{'-native' if native else ''}.zip-path", "a+") as shared:
        fcntl.flock(shared, fcntl.LOCK_EX)  # until the file is closed
        shared.seek(0)
        builder, _, path = shared.read().partition("\n")
        if builder != run:
            path = _build(["--native"] if native else [])
            shared.truncate(0)
            shared.write(f"{run}\n{path}")
        return ROOT / path


def _build(arguments: List[str]) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "packaging" / "build_zip.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
    )
    output = done.stdout.decode()
    assert done.returncode == 0, output
    return os.path.join(os.getcwd(), output.splitlines()[-1].split()[0])


def patient(directory: Path) -> Path:
    """Unpack the zip with an hour for the loop to end at a stop: a busy machine may take longer than the real limit."""
    with zipfile.ZipFile(str(built_zip())) as archive:
        archive.extractall(str(directory))
    source = directory / "connector" / "sigterm.py"
    text = source.read_text()
    assert text.count("MAX_STOP_SECONDS = 1.5") == 1
    source.write_text(text.replace("MAX_STOP_SECONDS = 1.5", "MAX_STOP_SECONDS = 3600.0"))
    for bytecode in source.parent.glob("**/sigterm.*pyc"):
        bytecode.unlink()
    return directory


def launcher(directory: Path, tree: Optional[Path] = None, trace: Optional[Path] = None) -> Path:
    """Write a program that starts the interpreter as the function's user; return its path.

    directory: a public one. tree: what is mounted at PROC. trace: where strace writes what the function does.
    """
    steps: List[str] = ["set -e"]
    prefix = Path(sys.base_prefix).resolve()
    private = [folder for folder in reversed(prefix.parents) if not folder.stat().st_mode & 0o001]
    if private:
        closed, inside = shlex.quote(str(private[0])), shlex.quote(str(prefix))
        steps += [
            f"mount --bind {inside} {PROC}",
            f"mount -t tmpfs -o mode=755 none {closed}",
            f"mkdir -p {inside}",
            f"mount --bind {PROC} {inside}",
            f"umount {PROC}",
        ]
    if tree:
        steps.append(f"mount --bind {shlex.quote(str(tree))} {PROC}")
        steps.append(f"mount -o remount,bind,ro {PROC}")  # as a core mounts a volume
    command = ["exec", "setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
    if trace:
        trace.touch()
        trace.chmod(0o666)
        # -D: the function stays the process that the core has started. -q, not -qq: the trace tells of its end.
        command += ["strace", "-D", "-f", "-q", "-y", "-s", "256", "-o", shlex.quote(str(trace))]
        command += ["-e", "trace=%file,%process,%network,kill,tkill,tgkill,ptrace,mount,ioctl"]
    command += [shlex.quote(str(INTERPRETER)), '"$@"']
    steps.append(" ".join(command))
    script = directory / "python-of-the-function"
    script.write_text('#!/bin/sh\nexec unshare --mount sh -c {} function "$@"\n'.format(shlex.quote("\n".join(steps))))
    script.chmod(0o755)
    return script


@functools.lru_cache(maxsize=None)
def refusal() -> Optional[str]:
    """Why there are no mounts and no other user for a function here, or None."""
    if os.geteuid() != 0:
        return "only root can give the function another user and mounts of its own"
    try:
        check = f"mount --bind /proc {PROC} && setpriv --reuid {NOBODY} true"
        subprocess.run(["unshare", "--mount", "sh", "-c", check], check=True, timeout=120, stderr=subprocess.PIPE)
    except OSError as error:
        return f"no unshare: {error}"
    except subprocess.CalledProcessError as error:
        return f"mount namespaces are not permitted: {error.stderr.decode().strip()}"
    return None


class FunctionCore(LocalCore):
    """A local core that runs the built zip as an ordinary user's."""

    def __init__(
        self, directory: Path, tree: Optional[Path] = None, trace: Optional[Path] = None, **settings: Any
    ) -> None:
        settings.setdefault("interval", 1)
        super().__init__(settings.pop("artifact", None) or built_zip(), proc=PROC if tree else "/proc", **settings)
        if refusal() is None:
            self.interpreter = self.interpreter._replace(path=str(launcher(directory, tree, trace)))

    def wait_for_delivery(self, timeout: float = LONG) -> Delivery:
        """Return the next delivery, as LocalCore does but with more patience: strace slows all down."""
        return super().wait_for_delivery(timeout)
