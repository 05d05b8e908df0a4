"""What is found below a folder: everything that can hold reports, once, and no folder skipped without a message."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from detection.errors import InputError
from detection.sniff import find


def test_link_to_a_folder_above_is_followed_once(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "a.jsonl").write_text("{}")
    (tmp_path / "day" / "again").symlink_to(tmp_path)
    assert [recording.path.name for recording in find([str(tmp_path)])] == ["a.jsonl"]


def test_folder_and_file_are_known_by_their_own_names_not_by_those_of_links(tmp_path: Path) -> None:
    """Whatever order a folder has them in: the name of a folder can be that of the device."""
    (tmp_path / "thing=g" / "day").mkdir(parents=True)
    (tmp_path / "thing=g" / "day" / "r").write_text("{}")
    (tmp_path / "z").write_text("{}")
    (tmp_path / "a").symlink_to(tmp_path / "z")
    (tmp_path / "latest").mkdir()
    for name in "ay":
        (tmp_path / "latest" / name).symlink_to(tmp_path / "thing=g" / "day")
    (tmp_path / "latest" / "s").symlink_to(tmp_path / "thing=g" / "day" / "r")
    found = {str(one.path.relative_to(tmp_path)): one.thing for one in find([str(tmp_path)])}
    assert found == {"thing=g/day/r": "g", "z": None}
    links = [str(tmp_path / name) for name in ("latest/y/r", "thing=g/day/r", "latest/s", "z", "a")]
    for arguments in (links, links[::-1]):
        assert {str(one.path.relative_to(tmp_path)): one.thing for one in find(arguments)} == found


def test_pipe_in_a_folder_is_no_recording(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.jsonl").write_text("{}")
    assert [recording.path.name for recording in find([str(tmp_path)])] == ["a.jsonl"]


def test_pipe_that_is_named_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: neither a file nor a folder; what comes through a pipe has to be"):
        find([str(tmp_path / "pipe")])


def test_file_that_can_not_be_opened_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}")
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match="b.jsonl: No such file or directory$"):
        find([str(tmp_path)])


def test_folder_that_can_not_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its devices would be missing from the result. Root may read everything, so the refusal is made up."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.jsonl").write_text("{}")
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(InputError, match="closed: Permission denied$"):
        find([str(tmp_path)])


@pytest.mark.parametrize("pattern", ["*/r", "day/clo*/*"])
def test_folder_that_a_glob_passes_over_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    for folder in ("open", "closed"):
        (tmp_path / "day" / folder).mkdir(parents=True)
        (tmp_path / "day" / folder / "r").write_text("{}")
    monkeypatch.chdir(tmp_path if pattern[0] == "d" else tmp_path / "day")
    assert find([pattern])
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("closed") and access(path, mode))
    with pytest.raises(InputError, match="closed: Permission denied$"):
        find([pattern])


def test_glob_goes_into_folders_with_links_to_themselves_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("x/a", "x/b/c", "y"):
        Path(folder).mkdir(parents=True)
        Path(folder, "r").write_text("{}")
        Path(folder, "again").symlink_to(".")
        Path(folder, "latest").symlink_to(".")

    def found(pattern: str) -> list[str]:
        return [str(one.path) for one in find([pattern])]

    assert found("**/r") == found("**") == ["x/a/r", "x/b/c/r", "y/r"]
    assert found("x/**/r") == found("?/**/[a-c]/**/r") == ["x/a/r", "x/b/c/r"]
    assert found("x/**/c/**") == found("**/c") == ["x/b/c/r"]
    assert found(f"{tmp_path}/x/b/**/r") == [f"{tmp_path}/x/b/c/r"]
    with pytest.raises(InputError, match="no files there"):
        find(["**/s"])
