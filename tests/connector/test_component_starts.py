"""A component that has to end waits where its nucleus would give it up for too many starts."""

from __future__ import annotations

from pathlib import Path
from typing import List

import pytest

from connector.component_starts import (
    FILE,
    MAX_ERRORS,
    MAX_KEPT,
    MAX_STARTS,
    MOST_SECONDS,
    WINDOW_SECONDS,
    Starts,
)


def ended(directory: Path, started: float, end: float) -> None:
    """A process that started and ended with an error."""
    Starts(str(directory), "boot", started).add_error(end)


def test_two_ends_within_an_hour_need_not_wait_and_the_third_does(tmp_path: Path) -> None:
    assert Starts(str(tmp_path), "boot", 100.0).wait_seconds(130.0) == 0.0
    ended(tmp_path, 200.0, 210.0)
    second = Starts(str(tmp_path), "boot", 5_000.0)
    assert second.wait_seconds(5_010.0) == 0.0
    second.add_error(5_010.0)
    third = Starts(str(tmp_path), "boot", 5_011.0)
    assert third.wait_seconds(5_020.0) == 0.0
    third.add_error(5_020.0)
    fourth = Starts(str(tmp_path), "boot", 5_021.0)
    assert fourth.wait_seconds(5_030.0) == 5_020.0 + MOST_SECONDS - 5_030.0
    assert fourth.wait_seconds(5_020.0 + MOST_SECONDS) == 0.0


def test_errors_count_until_an_hour_has_passed_without_one(tmp_path: Path) -> None:
    ended(tmp_path, 100.0, 1_000.0)
    ended(tmp_path, 1_001.0, 4_500.0)
    third = Starts(str(tmp_path), "boot", 4_501.0)
    assert third.wait_seconds(4_700.0) == 4_500.0 + MOST_SECONDS - 4_700.0
    third.add_error(4_500.0 + MOST_SECONDS)
    assert Starts(str(tmp_path), "boot", 9_000.0).wait_seconds(9_000.0) == 0.0


def test_starts_by_hand_count_for_nucleus_lite_and_not_as_errors(tmp_path: Path) -> None:
    for started in (100.0, 200.0):
        Starts(str(tmp_path), "boot", started)
    third = Starts(str(tmp_path), "boot", 300.0)
    assert third.wait_seconds(310.0) == 100.0 + MOST_SECONDS - 310.0


def test_the_deployment_of_another_version_begins_the_count_of_starts_anew_and_not_of_errors(tmp_path: Path) -> None:
    for number in range(5):
        starts = Starts(str(tmp_path), "boot", 100.0 * number, f"/artifacts/1.0.{number}")
        assert starts.wait_seconds(100.0 * number + 10.0) == 0.0
    for number in range(2):
        starts.add_error(500.0 + number)
    another = Starts(str(tmp_path), "boot", 600.0, "/artifacts/1.1.0")
    assert another.wait_seconds(610.0) == 501.0 + MOST_SECONDS - 610.0


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("lasts", [10.0, 900.0, 2_400.0, 3_500.0])
def test_no_nucleus_counts_too_many_starts_or_errors(tmp_path: Path, lasts: float, is_known: bool) -> None:
    """A connection that is lost some time after each start, for two days."""
    directory = str(tmp_path) if is_known else ""
    now = 50.0
    starts: List[float] = []
    ends: List[float] = []
    while now < 2 * 86_400.0:
        starts.append(now)
        process = Starts(directory, "boot", now)
        now += lasts
        now += process.wait_seconds(now)
        process.add_error(now)
        ends.append(now)
        now += 1.0
    assert len(starts) > 40
    assert all(later - first > WINDOW_SECONDS for first, later in zip(starts, starts[MAX_STARTS:]))
    in_a_row = 1
    for before, end in zip(ends, ends[1:]):
        in_a_row = in_a_row + 1 if end - before < WINDOW_SECONDS else 1
        assert in_a_row <= MAX_ERRORS


def test_starts_of_another_boot_do_not_count(tmp_path: Path) -> None:
    for started in (100.0, 110.0, 120.0):
        Starts(str(tmp_path), "one boot", started).add_error(started + 5.0)
    assert Starts(str(tmp_path), "another", 200.0).wait_seconds(210.0) == 0.0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"boot": "boot"}',
        b'{"boot": "boot", "starts": [null], "errors": []}',
        b"\xff",
        b"[" * 4_000,
        b'{"boot": "boot", "starts": [1%s], "errors": []}' % (b"0" * 400),
        b'{"boot": "boot", "starts": [], "errors": [NaN]}',
        b'{"boot": "boot", "starts": [Infinity, Infinity], "errors": []}',
        b'{"boot": "boot", "starts": [-1], "errors": []}',
        b'{"boot": "boot", "starts": [], "errors": [], "too_long": []}',
        b'{"boot": "boot", "starts": [], "errors": [90.0, 100.5]}',  # after this process has started
    ],
)
def test_where_nobody_knows_of_the_ends_before_an_hour_has_to_pass(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    starts = Starts(str(tmp_path), "boot", 100.0)
    assert starts.wait_seconds(110.0) == MOST_SECONDS - 10.0
    assert starts.wait_seconds(100.0 + MOST_SECONDS) == 0.0
    # The file is whole again: the next start knows of this one.
    assert Starts(str(tmp_path), "boot", 5_000.0).wait_seconds(5_000.0) == 0.0


@pytest.mark.parametrize("directory", ["", "/nonexistent/folder"])
def test_without_a_folder_an_hour_has_to_pass(directory: str) -> None:
    assert Starts(directory, "boot", 100.0).wait_seconds(100.0) == MOST_SECONDS


def test_the_file_is_bounded_and_its_owners_alone(tmp_path: Path) -> None:
    for number in range(100):
        Starts(str(tmp_path), "boot", 1e9 + number)
    path = tmp_path / FILE
    assert len(path.read_text().split(",")) <= MAX_KEPT + 4
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_in_the_place_of_the_new_file_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("kept")
    (tmp_path / (FILE + ".new")).symlink_to(target)
    Starts(str(tmp_path), "boot", 1.0)
    assert target.read_text() == "kept"
