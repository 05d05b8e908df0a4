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


def test_pipe_in_a_folder_is_no_recording(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.jsonl").write_text("{}")
    assert [recording.path.name for recording in find([str(tmp_path)])] == ["a.jsonl"]


def test_pipe_that_is_named_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: neither a file nor a folder$"):
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
