"""The zip to deploy: what its name says, and the digest by which AWS Lambda knows it."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from deployment.errors import UsageError

_NAME = re.compile(
    r"device-defender-connector-(\d+\.\d+\.\d+)-py3(7|8|9|10|11|12|13)-(x86_64|aarch64|any)(?:-nobytecode)?\.zip"
)


@dataclass(frozen=True)
class Artifact:
    """A zip built by build_zip.sh."""

    path: Path
    version: str
    runtime: str
    """Lambda's name of the Python it was built for, such as python3.8."""
    arch: str
    """x86_64, aarch64 or any."""
    data: bytes

    @property
    def code_sha256(self) -> str:
        """SHA-256 of the file in base64, as Lambda's CodeSha256."""
        return base64.b64encode(hashlib.sha256(self.data).digest()).decode()


def load(path: Path) -> Artifact:
    """Read a zip; raise UsageError if it is not one of this connector's."""
    name = _NAME.fullmatch(path.name)
    if not name:
        raise UsageError(
            f"--zip {path}: not a name that build_zip.sh gives "
            "(device-defender-connector-<version>-py<37..313>-<x86_64|aarch64|any>.zip)"
        )
    try:
        data = path.read_bytes()
        with zipfile.ZipFile(path) as content:
            content.getinfo("connector/handler.py")
    except OSError as error:
        raise UsageError(f"--zip {path}: {error.strerror}; ./build_zip.sh makes one and prints its path") from error
    except (zipfile.BadZipFile, KeyError) as error:
        raise UsageError(f"--zip {path}: not a connector's zip ({error}); build it again: ./build_zip.sh") from error
    version, minor, arch = name.groups()
    return Artifact(path, version, f"python3.{minor}", arch, data)
