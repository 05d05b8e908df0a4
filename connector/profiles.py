"""The security profiles that the parameter SecurityProfiles names: from the zip, or files of the device."""

from __future__ import annotations

import json
import os
import pkgutil
import stat
from typing import Any, List, NamedTuple, Sequence

from .detect.profile import Profile, ProfileError, parse
from .errors import ConnectorError

MAX_PROFILE_BYTES = 256 << 10  # a profile with 1,000 networks has about 40 KB
MAX_SHOWN_FAULTS = 3  # of one profile, in its warning

FOLDER = "security_profiles"
# In a checkout, the profiles are beside the connector's package; build_zip.py puts them into it.
_CHECKOUT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "packaging", FOLDER)


class Profiles(NamedTuple):
    """The profiles of the parameter.

    usable: those of which at least one behavior can be judged.
    warnings: what can't be used and why, one sentence per profile.
    notes: which behaviors are not judged on a device, one sentence per profile.
    """

    usable: List[Profile]
    warnings: List[str]
    notes: List[str]


def load(items: Sequence[str]) -> Profiles:
    """Return the profiles of names and absolute paths. One that can't be used is left out, with a warning."""
    found = Profiles([], [], [])
    for item in items:
        try:
            profile = parse(_read(item))
            if any(profile.name == other.name for other in found.usable):
                raise ProfileError(f"another profile has the securityProfileName {profile.name} too")
        except ConnectorError as error:
            found.warnings.append(f"{item} is not used: {error}")
            continue
        if profile.faults:
            shown = "; ".join(profile.faults[:MAX_SHOWN_FAULTS])
            more = len(profile.faults) - MAX_SHOWN_FAULTS
            found.warnings.append(f"{item} is used in part: {shown}" + (f"; and {more} more" if more > 0 else ""))
        skipped = [f"{behavior.name} ({behavior.skipped})" for behavior in profile.behaviors if behavior.skipped]
        if skipped:
            found.notes.append(f"of {item} not judged on a device: {'; '.join(skipped)}")
        if len(skipped) < len(profile.behaviors):
            found.usable.append(profile)
        elif not profile.faults:
            found.warnings.append(f"{item} is not used: none of its behaviors can be judged on a device")
    return found


def _read(item: str) -> Any:
    """Return the JSON document of a name or path. Raises ProfileError."""
    content = _read_file(item) if item.startswith("/") else _read_packaged(item)
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"it is not JSON: {error}") from error


def _read_packaged(name: str) -> bytes:
    """Return a profile's text from the zip, or another place that the package was imported from."""
    try:
        content = pkgutil.get_data(__package__, f"{FOLDER}/{name}.json")
    except OSError:
        content = None
    if content is not None:
        return content
    path = os.path.join(_CHECKOUT, name + ".json")
    if os.path.isfile(path):
        return _read_file(path)
    raise ProfileError(
        "no profile of this name comes with the connector; a file of the device is named by its absolute path"
    )


def _read_file(path: str) -> bytes:
    try:
        with open(path, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ProfileError("it is not a regular file")
            content = file.read(MAX_PROFILE_BYTES + 1)
    except OSError as error:
        raise ProfileError(f"it can't be read: {error.strerror or error}") from error
    if len(content) > MAX_PROFILE_BYTES:
        raise ProfileError(f"it is over {MAX_PROFILE_BYTES} bytes long")
    return content


def _open(path: str, flags: int) -> int:
    """Open without waiting where somebody has put a pipe in the file's place."""
    return os.open(path, flags | os.O_NONBLOCK)
