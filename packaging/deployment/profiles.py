"""Security profiles for the connector to judge: files, checked; what is kept of a deployment; what the plan shows."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from connector.detect.profile import Profile, ProfileError, parse
from connector.profiles import MAX_PROFILE_BYTES
from deployment import artifact, deployed_zip
from deployment.artifact import Artifact
from deployment.aws import Aws
from deployment.errors import DeployError, UsageError
from deployment.intent import Deployed
from deployment.settings import Settings

FLAG = "--security-profiles"


@dataclass(frozen=True)
class ProfileFile:
    """A profile's file.

    source: the file's path, or where else it is from
    data: its bytes
    profile: what the connector makes of it
    """

    source: str
    data: bytes
    profile: Profile


def load(paths: Iterable[Path]) -> dict[str, ProfileFile]:
    """Return the profiles of files by name; raise UsageError for one that the connector can't use."""
    found: dict[str, ProfileFile] = {}
    for path in paths:
        file = _read(path)
        name = file.profile.name
        if name in found:
            raise UsageError(f"{FLAG} {path}: {found[name].source} has the securityProfileName {name} too")
        found[name] = file
    return found


def with_files(parameter: str, files: Iterable[str]) -> str:
    """Return the parameter SecurityProfiles with the names of files at the end, each once."""
    items = [item.strip() for item in parameter.split(",") if item.strip()]
    return ",".join(dict.fromkeys([*items, *files]))


def kept(aws: Aws, deployed: Deployed, wanted: Settings, given: Iterable[str]) -> dict[str, bytes]:
    """Return the files of profiles that an earlier run added to the zip, and that are wanted without being given.

    They are only in the deployed zip. Raises DeployError if that can't be read.
    """
    earlier = {item.strip() for item in deployed.parameters.get("SecurityProfiles", "").split(",")}
    names = [name for name in wanted.profile_names if name in earlier and name not in given]
    if not names:
        return {}
    try:
        data = deployed_zip.read(aws, deployed)
        added = artifact.added_profiles(data) if data is not None else {}
    except (OSError, zipfile.BadZipFile) as error:
        raise DeployError(
            f"the zip of {deployed.function_arn or deployed.component_arn}, which may have profiles of yours, can't be "
            f"read ({error}): pass "
            f"the files of {', '.join(names)} with {FLAG}"
        ) from error
    return {name: data for name, data in added.items() if name in names}


def put_in(
    built: Artifact, wanted: Settings, given: dict[str, ProfileFile], kept_files: dict[str, bytes]
) -> tuple[Artifact, list[str]]:
    """Return the zip with the wanted profiles, and a note on each of them.

    Raises UsageError for a name that is neither in the zip nor among the files.
    """
    names = wanted.profile_names
    files = kept_files | {name: file.data for name, file in given.items()}
    result = built.with_profiles({name: data for name, data in files.items() if name in names})
    held, notes = result.profiles, []
    for name in names:
        if name not in held:
            raise UsageError(
                f"SecurityProfiles: {built.path.name} has no profile {name} (it has "
                f"{', '.join(sorted(held)) or 'none'}): pass its file with {FLAG}, or name other profiles with "
                "--SecurityProfiles"
            )
        source = given[name].source if name in given else "as deployed" if name in kept_files else "in the zip"
        notes.append(_note(ProfileFile(source, held[name], _parse(held[name], name)), wanted))
    return result, notes


def _read(path: Path) -> ProfileFile:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PROFILE_BYTES + 1)
    except OSError as error:
        hint = "" if path.suffix else f"; a profile in the zip is named with --SecurityProfiles {path}"
        raise UsageError(f"{FLAG} {path}: {error.strerror}{hint}") from error
    if len(data) > MAX_PROFILE_BYTES:
        raise UsageError(f"{FLAG} {path}: over {MAX_PROFILE_BYTES:,} bytes, which the connector does not read")
    profile = _parse(data, f"{FLAG} {path}")
    if all(behavior.skipped for behavior in profile.behaviors):
        raise UsageError(
            f"{FLAG} {path}: nothing of it can be judged on a core: {_left_out(profile) or 'no behaviors'}"
        )
    return ProfileFile(str(path), data, profile)


def _parse(data: bytes, what: str) -> Profile:
    try:
        return parse(json.loads(data.decode("utf-8")))
    except (ProfileError, ValueError, RecursionError) as error:
        reason = error if isinstance(error, ProfileError) else f"not JSON: {error}"
        raise UsageError(f"{what}: {reason}") from error


def _note(file: ProfileFile, wanted: Settings) -> str:
    """Return what a core judges of a profile, what it leaves out, and why."""
    profile = file.profile
    judged = [behavior for behavior in profile.behaviors if not behavior.skipped]
    total = len(profile.behaviors) + len(profile.faults)
    text = f"Profile {profile.name} ({file.source}): {len(judged)} of {total} behaviors are judged on the core."
    left_out = _left_out(profile)
    if left_out:
        text += f" Left out: {left_out}."
    quiet = [behavior.name for behavior in judged if behavior.suppressed]
    if quiet:
        text += f" Judged, but not sent (suppressAlerts): {', '.join(quiet)}."
    custom = {behavior.metric for behavior in judged if not behavior.metric.startswith("aws:")}
    unread = sorted(custom - set(wanted.custom_metrics))
    if unread:
        text += f" It judges {', '.join(unread)}, which CustomMetrics does not have: these behaviors get no values."
    return text


def _left_out(profile: Profile) -> str:
    skipped = [f"{behavior.name} ({behavior.skipped})" for behavior in profile.behaviors if behavior.skipped]
    return "; ".join([*profile.faults, *skipped])
