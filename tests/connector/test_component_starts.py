"""A component that has to end waits where its nucleus would give it up for too many starts."""

from __future__ import annotations

from pathlib import Path
from typing import List

import pytest

from connector.component_starts import FILE, MAX_KEPT, SPARE_SECONDS, WINDOW_SECONDS, Starts

MOST = WINDOW_SECONDS + SPARE_SECONDS


def test_the_first_end_within_an_hour_need_not_wait(tmp_path: Path) -> None:
    assert Starts(str(tmp_path), "boot", 100.0).wait_seconds(130.0) == 0.0


def test_the_second_end_waits_until_the_next_start_is_the_second_within_an_hour(tmp_path: Path) -> None:
    Starts(str(tmp_path), "boot", 100.0)
    second = Starts(str(tmp_path), "boot", 200.0)
    assert second.wait_seconds(250.0) == 100.0 + MOST - 250.0
    assert second.wait_seconds(100.0 + MOST) == 0.0


def test_a_nucleus_never_counts_three_starts_within_an_hour(tmp_path: Path) -> None:
    """A connection that is lost ten seconds after each start, for a day."""
    now = 50.0
    moments: List[float] = []
    while now < 86_400.0:
        moments.append(now)
        starts = Starts(str(tmp_path), "boot", now)
        now += 10.0
        now += starts.wait_seconds(now) + 1.0
    assert len(moments) > 40
    assert all(third - first > WINDOW_SECONDS for first, third in zip(moments, moments[2:]))


def test_starts_of_another_boot_do_not_count(tmp_path: Path) -> None:
    Starts(str(tmp_path), "one boot", 100.0)
    assert Starts(str(tmp_path), "another", 200.0).wait_seconds(210.0) == 0.0


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"boot": "boot"}', b'{"boot": "boot", "starts": [null]}', b"\xff"]
)
def test_where_nobody_knows_of_the_starts_before_half_an_hour_has_to_pass(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    starts = Starts(str(tmp_path), "boot", 100.0)
    assert starts.wait_seconds(110.0) == WINDOW_SECONDS / 2 + SPARE_SECONDS - 10.0
    assert starts.wait_seconds(100.0 + WINDOW_SECONDS) == 0.0
    # The file is whole again: the next start knows of this one.
    assert Starts(str(tmp_path), "boot", 5_000.0).wait_seconds(5_000.0) == 0.0


@pytest.mark.parametrize("directory", ["", "/nonexistent/folder"])
def test_without_a_folder_half_an_hour_has_to_pass(directory: str) -> None:
    assert Starts(directory, "boot", 100.0).wait_seconds(100.0) == WINDOW_SECONDS / 2 + SPARE_SECONDS


def test_the_file_is_bounded_and_its_owners_alone(tmp_path: Path) -> None:
    for number in range(100):
        Starts(str(tmp_path), "boot", 1e9 + number)
    path = tmp_path / FILE
    assert len(path.read_text().split(",")) <= MAX_KEPT + 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_in_the_place_of_the_new_file_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("kept")
    (tmp_path / (FILE + ".new")).symlink_to(target)
    Starts(str(tmp_path), "boot", 1.0)
    assert target.read_text() == "kept"
