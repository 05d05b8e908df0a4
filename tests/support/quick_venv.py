"""Virtual environments whose pip is a link to the running one, made in a twentieth of the time of a copy."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

_SCRIPT = """#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec {python} "$@"
shift 2
{python} -m venv --without-pip "$@" || exit
for folder; do :; done # the last argument
ln -s {pip} "$folder"/lib/python*/site-packages/ || exit
printf '#!/bin/sh\\nexec "%s" -m pip "$@"\\n' "$folder/bin/python" >"$folder/bin/pip"
chmod +x "$folder/bin/pip"
"""


def write_python(path: Path) -> str:
    """Write a program that is the running Python, but for how it makes environments; return its path."""
    pip = importlib.util.find_spec("pip")
    assert pip is not None
    assert pip.origin is not None
    path.write_text(_SCRIPT.format(python=shlex.quote(sys.executable), pip=shlex.quote(str(Path(pip.origin).parent))))
    path.chmod(0o755)
    return str(path)
