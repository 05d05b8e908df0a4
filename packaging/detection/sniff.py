"""Finds the files of recordings, what each is by its first bytes, and whose reports it holds by its path.

Source: Data Firehose guide, "Amazon S3 object name format": object names have no reliable ending.
"""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from .decompress import DamagedError, Decompressed, is_compressed
from .errors import InputError
from .reports import NOT_A_THING

TEXT, CBOR, PARQUET, UNKNOWN = "text", "cbor", "parquet", "unknown"

ANY_FOLDERS = "**"  # in a glob: any number of folders, or none

HEAD_BYTES = 4096  # of the decompressed content, from which a file's kind is told

_PARQUET = b"PAR1"
# What a report or an envelope has near its beginning, in JSON and in CBOR. The first byte alone does not do: it
# may be damaged.
_NAMES = (b"header", b"hed", b"metrics", b"met", b"custom_metrics", b"cmet", b"report", b"data")
_JSON = re.compile(b'"(?:%s)"\\s*:' % b"|".join(_NAMES))
_CBOR = re.compile(b"|".join(b"%c%s[\x40-\xbf]" % (0x60 + len(name), name) for name in _NAMES))
_CBOR_BEGINS = range(0x80, 0xE0)  # an array, a map or a tag; no text in UTF-8 begins so
_OTHER_ENDINGS = re.compile(r"\.(?:jsonl?|ndjson|cbor|parquet|log|txt|gz|zst|gzip|zstd)$", re.IGNORECASE)
_HIVE_THING = re.compile(rf"(?:^|/)thing=({NOT_A_THING}|[^/]+)/")

# A file is looked at more than once, and by several processes.
_PIPED = "; what comes through a pipe has to be written to a file first"


class Readable(Protocol):
    """What can be read piece by piece."""

    def read(self, __size: int) -> bytes:
        """Return at most about so many bytes; none at the end."""


@dataclass(frozen=True)
class Recording:
    """A file of reports.

    path: as a person would write it
    kind: TEXT (JSON), CBOR, PARQUET or UNKNOWN
    compressed: whether it has to be decompressed, which content() does
    size: bytes of the file
    thing: the thing that its path names; None: none
    """

    path: Path
    kind: str
    compressed: bool
    size: int
    thing: str | None


def find(arguments: Iterable[str], thing_from: re.Pattern[str] | None = None) -> list[Recording]:
    """Return the files that the arguments name, each once, in the order of their paths.

    arguments: files, folders (with all that is below) and globs (`**` for any folders). In folders, names that begin
        with a dot or an underscore are left out: they are of tools that write there, such as `_SUCCESS`.
    thing_from: finds the thing in a file's path; its first group, if it has one

    Raises InputError where an argument names no file, or a path does not have what thing_from looks for.
    """
    found: dict[str, Path] = {}
    for argument in arguments:
        try:
            paths = list(_paths(argument))
        except OSError as error:  # of a name that is too long, or a folder above that can't be entered
            raise InputError(f"{str(error.filename or argument):.200}: {error.strerror}") from error
        if not paths:
            raise InputError(f"{argument}: no files there{_PIPED if argument == '-' else ''}")
        for path in paths:
            real = os.path.realpath(path)
            found[real] = min(found.get(real, path), path, key=lambda one: _preference(one, real))
    return [_recording(path, thing_from) for path in sorted(found.values())]


def thing_of(path: Path, thing_from: re.Pattern[str] | None = None) -> str | None:
    """Return the thing that a path names: by thing_from, else Hive's way, `thing=gateway-1/`; None: it names none."""
    text = path.as_posix()
    if thing_from is None:
        hive = _HIVE_THING.search(text)
        return _unquoted(hive[1]) if hive else None
    match = thing_from.search(text)
    thing = match and match[1 if thing_from.groups else 0]
    if not thing:
        raise InputError(f"{path}: --thing-from {thing_from.pattern!r} finds no thing in this path")
    return _as_text(thing)


def file_things(paths: Iterable[Path]) -> dict[Path, str]:
    """Return a name for the device of each file that holds one device's reports and does not name it.

    It is the file's name without endings such as `.jsonl.gz`; the whole path for files that would share a name.
    """
    names = {path: _as_text(_bare_name(path)) for path in paths}
    counts: dict[str, int] = {}
    for name in names.values():
        counts[name] = counts.get(name, 0) + 1
    return {path: name if counts[name] == 1 else _as_text(str(path)) for path, name in names.items()}


@contextmanager
def content(recording: Recording, start: int = 0) -> Iterator[Readable]:
    """Open what a file holds, decompressed. start: the byte offset to begin at, of a file that is not compressed."""
    with recording.path.open("rb") as file:
        if recording.compressed:
            yield Decompressed(file)
        else:
            file.seek(start)
            yield file


def _preference(path: Path, real: str) -> tuple[bool, bool, Path]:
    """Return what sorts the paths of one file: first one that names its thing, then the file itself, then links."""
    return (_HIVE_THING.search(path.as_posix()) is None, os.path.abspath(path) != real, path)


def _paths(argument: str) -> Iterator[Path]:
    path = Path(argument)
    if path.is_dir():
        yield from _below(path)
    elif path.exists():
        yield path
    elif ANY_FOLDERS in path.parts:
        yield from _deep(path)
    else:
        for matched in _matches(path):
            if matched.is_dir():
                yield from _below(matched)
            else:
                yield matched


def _matches(pattern: Path) -> Iterator[Path]:
    """Yield what a glob names. Raises InputError for a folder that it looks into and that can't be read."""
    for folders in pattern.parents:
        for folder in glob.iglob(str(folders)):
            if os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK):  # glob passes over it
                raise InputError(f"{folder}: {os.strerror(errno.EACCES)}")
    yield from map(Path, glob.iglob(str(pattern)))


def _deep(pattern: Path) -> Iterator[Path]:
    """Yield the files that a glob with `**` names, or that are in a folder that it names.

    By a walk that goes into each folder once: glob follows two links to a folder above for ever.
    """
    at = pattern.parts.index(ANY_FOLDERS)
    for folder in _matches(Path(*pattern.parts[:at])):
        for path in _below(folder) if folder.is_dir() else ():
            names = path.relative_to(folder).parts
            if any(_fits(names[:count], pattern.parts[at:]) for count in range(1, len(names) + 1)):
                yield path


def _fits(names: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern or not names:
        return not names and all(one == ANY_FOLDERS for one in pattern)
    if pattern[0] == ANY_FOLDERS:
        return _fits(names, pattern[1:]) or _fits(names[1:], pattern)
    return fnmatch.fnmatchcase(names[0], pattern[0]) and _fits(names[1:], pattern[1:])


def _below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder. Raises InputError for one that can't be read: its devices would be missing."""

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: {error.strerror}") from error

    seen: set[str] = set()  # a link may lead to a folder above
    waiting = [str(folder)]
    for start in waiting:  # which grows: links come after all that is there itself, so that it has its own names
        for parent, folders, files in os.walk(start, onerror=refuse):
            real = os.path.realpath(parent)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if name[0] not in "._")
            waiting += [link for link in (os.path.join(parent, name) for name in folders) if os.path.islink(link)]
            for name in files:
                path = Path(parent, name)
                # Not pipes, sockets and devices: a pipe would be waited for.
                if name[0] not in "._" and (os.path.isfile(path) or not os.path.exists(path)):
                    yield path


def _recording(path: Path, thing_from: re.Pattern[str] | None) -> Recording:
    thing = thing_of(path, thing_from)
    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(f"{path}: neither a file nor a folder{_PIPED}")
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            file.seek(0)
            compressed = is_compressed(magic)
            kind = _kind(_head(Decompressed(file) if compressed else file))
        return Recording(path, kind, compressed, path.stat().st_size, thing)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def _head(file: Readable) -> bytes:
    try:
        return file.read(HEAD_BYTES)
    except DamagedError:
        return b""  # the reading names the place


def _kind(head: bytes) -> str:
    if head.startswith(_PARQUET):
        return PARQUET
    in_json, in_cbor = _JSON.search(head), _CBOR.search(head)
    # CBOR may hold JSON as the payload of an envelope, and a word in JSON may look like a name in CBOR.
    if in_cbor and (not in_json or (in_cbor.start() < in_json.start() and head[0] in _CBOR_BEGINS)):
        return CBOR
    if in_json:
        return TEXT
    return UNKNOWN if b"\0" in head.rstrip(b"\0") else TEXT


def _unquoted(name: str) -> str:
    """Return the value in the name of a Hive folder; as it is where it is no text, so that two stay two."""
    try:
        return _as_text(unquote(name, errors="strict"))
    except UnicodeDecodeError:
        return _as_text(name)


def _as_text(name: str) -> str:
    """Return a file's name with the bytes that are no UTF-8 written out, as a table of text can't hold them."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _bare_name(path: Path) -> str:
    name = path.name
    while True:
        shorter = _OTHER_ENDINGS.sub("", name)
        if shorter in (name, ""):
            return name
        name = shorter
