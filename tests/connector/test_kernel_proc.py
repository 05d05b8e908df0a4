"""The mounted proc: whose network tables are read, and the bound on what is read whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import proc

from connector.errors import TableError
from connector.kernel.proc import MAX_FILE, Proc, locate, read


def own_proc(root: Path, network: Path) -> str:
    """A reader's own proc whose `self/net` is the given directory."""
    (root / "self").mkdir(parents=True)
    (root / "self" / "net").symlink_to(network)
    return str(root)


def test_the_hosts_network_is_that_of_process_1(tmp_path: Path) -> None:
    """`<root>/net` leads to the reader's network, and is not looked at where process 1's can be read."""
    host, own = proc.tree(tmp_path / "host"), proc.tree(tmp_path / "own")
    (host / "net").symlink_to(own / "1" / "net")
    reader = own_proc(tmp_path / "proc", own / "1" / "net")
    assert locate(str(host), reader) == Proc(str(host), str(host / "1" / "net"), host=True, shared=False)


def test_equal_inode_numbers_are_the_same_network(tmp_path: Path) -> None:
    host = proc.tree(tmp_path / "host")
    reader = own_proc(tmp_path / "proc", host / "1" / "net")
    assert locate(str(host), reader) == Proc(str(host), str(host / "1" / "net"), host=True, shared=True)


def test_where_process_1_is_hidden_the_readers_own_network_is_left(tmp_path: Path) -> None:
    """With hidepid there is no `<root>/1`."""
    own = proc.tree(tmp_path / "own")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "net").symlink_to(own / "1" / "net")
    reader = own_proc(tmp_path / "proc", own / "1" / "net")
    assert locate(str(hidden), reader) == Proc(str(hidden), str(hidden / "net"), host=False, shared=True)


def test_this_process_shares_its_own_network() -> None:
    assert locate("/proc").shared == (os.stat("/proc/1/net/dev").st_ino == os.stat("/proc/self/net/dev").st_ino)


def test_without_any_proc_of_its_own_nothing_is_shared(tmp_path: Path) -> None:
    assert not locate(str(proc.tree(tmp_path)), str(tmp_path / "nothing")).shared


def test_no_proc_at_all_is_an_error_that_says_what_to_look_at(tmp_path: Path) -> None:
    root = str(tmp_path / "host_proc")
    with pytest.raises(TableError) as caught:
        locate(root)
    assert str(caught.value) == (
        f"no network tables under {root} ({root}/1/net: No such file or directory; {root}/net: No such file or "
        "directory): is the host's /proc mounted there?"
    )


def test_a_file_is_read_whole_up_to_the_bound(tmp_path: Path) -> None:
    """Memory is bounded whatever a table grows to: what is longer is not read in part, it is an error."""
    name = tmp_path / "route"
    name.write_bytes(b"x" * MAX_FILE)
    assert read(str(tmp_path), "route") == b"x" * MAX_FILE
    name.write_bytes(b"x" * (MAX_FILE + 1))
    with pytest.raises(TableError, match=f"route is over {MAX_FILE} bytes long"):
        read(str(tmp_path), "route")


def test_a_file_that_can_not_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=f"^{tmp_path}/absent can't be read: No such file or directory$"):
        read(str(tmp_path), "absent")
    with pytest.raises(TableError, match=f"^{tmp_path} can't be read: Is a directory$"):
        read(str(tmp_path))
