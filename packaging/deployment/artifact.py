"""The zip to deploy: its name's parts, its digest as AWS Lambda gives it, and the security profiles in it."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from zip_entries import content, stored, taken_over, zip_bytes

from connector.profiles import FOLDER
from deployment.errors import UsageError

_NAME = re.compile(
    r"device-defender-connector(-native)?-(\d+\.\d+\.\d+)-py3(7|8|9|10|11|12|13)-(x86_64|aarch64|any)"
    r"(?:-nobytecode)?\.zip"
)
_PROFILE = re.compile(rf"connector/{FOLDER}/([^/]+)\.json")

# On a profile that deploy.py has put into the zip: the next zip does not have it, so an upgrade takes it over.
_ADDED = b"added by deploy.py"


@dataclass(frozen=True)
class Artifact:
    """A zip built by build_zip.sh, perhaps with profiles that were added to it.

    path: the file; what was added is in `data` only
    version: the connector's
    runtime: Lambda's name of the Python it was built for, such as python3.8
    arch: x86_64, aarch64 or any
    data: the zip to upload
    is_native: whether it is for the native component
    has_added: whether profiles were added
    """

    path: Path
    version: str
    runtime: str
    arch: str
    data: bytes
    is_native: bool = False
    has_added: bool = False

    @property
    def sha256(self) -> str:
        """SHA-256 of the zip in hexadecimal, as build_zip.sh prints it."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def code_sha256(self) -> str:
        """SHA-256 of the zip in base64, as Lambda's CodeSha256."""
        return base64.b64encode(hashlib.sha256(self.data).digest()).decode()

    @property
    def name(self) -> str:
        """The file's name; with profiles added, one of its own for that content."""
        return f"{self.path.stem}-profiles-{self.sha256[:12]}.zip" if self.has_added else self.path.name

    @property
    def profiles(self) -> dict[str, bytes]:
        """The files of the security profiles in the zip, by name."""
        return {name: data for name, data, _ in _profiles(self.data)}

    def with_profiles(self, files: Mapping[str, bytes]) -> Artifact:
        """Return the zip with these files of profiles; one of the same name is replaced.

        The same files make the same bytes on every machine. A file that the zip has already is not added.
        """
        held = self.profiles
        new = {name: data for name, data in files.items() if held.get(name) != data}
        if not new:
            return self
        with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
            entries = {info.filename: taken_over(self.data, info) for info in archive.infolist()}
        for name, data in new.items():
            entries[f"connector/{FOLDER}/{name}.json"] = stored(data, _ADDED)
        return replace(self, data=zip_bytes(entries), has_added=True)


def load(path: Path) -> Artifact:
    """Read a zip; raise UsageError if it is not one of this connector's."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"--zip {path}: {error.strerror}; ./build_zip.sh makes one and prints its path") from error
    name = _NAME.fullmatch(path.name)
    if not name:
        raise UsageError(
            f"--zip {path}: not a name that build_zip.sh gives "
            "(device-defender-connector[-native]-<version>-py<37..313>-<x86_64|aarch64|any>.zip)"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            archive.getinfo("awsiot/__init__.py" if name[1] else "connector/handler.py")
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise UsageError(f"--zip {path}: not a connector's zip ({error}); build it again: ./build_zip.sh") from error
    native, version, minor, arch = name.groups()
    return Artifact(path, version, f"python3.{minor}", arch, data, is_native=bool(native))


def added_profiles(data: bytes) -> dict[str, bytes]:
    """Return the files of the profiles that deploy.py added to a zip, by name; raise BadZipFile for what is no zip."""
    return {name: file for name, file, was_added in _profiles(data) if was_added}


def _profiles(data: bytes) -> Iterator[tuple[str, bytes, bool]]:
    """Yield name, file, and whether deploy.py added it, of each profile in a zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            found = _PROFILE.fullmatch(info.filename)
            if found:
                yield found[1], content(taken_over(data, info)), info.comment == _ADDED
