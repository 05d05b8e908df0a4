"""The mounted proc: whose network tables are read, and the bound on the size of a file."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, Dict

import pytest
from support import proc

from connector.errors import TableError
from connector.kernel.proc import MAX_FILE_BYTES, Proc, is_there, locate, read


def own_proc(root: Path, network: Path) -> str:
    """Make a reader's own proc whose `self/net` is the given directory."""
    (root / "self").mkdir(parents=True)
    (root / "self" / "net").symlink_to(network)
    return str(root)


def test_network_of_process_1_is_the_hosts(tmp_path: Path) -> None:
    """`<root>/net` is the reader's network and is not used if that of process 1 can be read."""
    host, own = proc.tree(tmp_path / "host"), proc.tree(tmp_path / "own")
    (host / "net").symlink_to(own / "1" / "net")
    reader = own_proc(tmp_path / "proc", own / "1" / "net")
    assert locate(str(host), reader) == Proc(str(host), str(host / "1" / "net"), host=True, shared=False)


def test_equal_inode_numbers_mean_the_same_network(tmp_path: Path) -> None:
    host = proc.tree(tmp_path / "host")
    reader = own_proc(tmp_path / "proc", host / "1" / "net")
    assert locate(str(host), reader) == Proc(str(host), str(host / "1" / "net"), host=True, shared=True)


def readers_network(root: Path) -> Path:
    """Make a proc mount that shows process 1's network and, as `net`, the reader's own; return the mount point."""
    host, own = proc.tree(root / "host"), proc.tree(root / "own")
    (host / "net").symlink_to(own / "1" / "net")
    own_proc(root / "proc", own / "1" / "net")
    return host


def test_hidden_process_1_leaves_the_readers_own_network(tmp_path: Path) -> None:
    """With hidepid there is no `<root>/1`."""
    host = readers_network(tmp_path)
    (host / "1").rename(tmp_path / "away")
    found = locate(str(host), str(tmp_path / "proc"))
    assert found == Proc(str(host), str(host / "net"), host=False, shared=True)


def failing_stat(monkeypatch: pytest.MonkeyPatch, errors: Dict[str, int]) -> None:
    """Let stat(2) fail with an error for some paths."""
    stat = os.stat

    def fail(path: Any, **options: Any) -> os.stat_result:
        if path in errors:
            raise OSError(errors[path], os.strerror(errors[path]), path)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", fail)


@pytest.mark.parametrize("error", [errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM], ids=errno.errorcode.get)
def test_readers_network_replaces_only_one_that_is_not_there_or_not_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    host = readers_network(tmp_path)
    failing_stat(monkeypatch, {str(host / "1" / "net" / "dev"): error})
    assert locate(str(host), str(tmp_path / "proc")).net == str(host / "net")
    with pytest.raises(TableError) as caught:
        locate(str(host), str(tmp_path / "proc"), host_seen=True)
    assert str(caught.value) == (
        f"{host}/1/net: {os.strerror(error)}; {host}/net is not used in its place, as earlier readings were of the "
        "host's network"
    )


@pytest.mark.parametrize("error", [errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("failing", ["host/1/net", "proc/self/net"])
def test_error_that_may_pass_never_changes_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: int
) -> None:
    """Neither whose it is nor whether it is shared."""
    host = readers_network(tmp_path)
    failing_stat(monkeypatch, {str(tmp_path / failing / "dev"): error})
    with pytest.raises(TableError, match=f"^no network tables under .*{failing}: {os.strerror(error)}.$"):
        locate(str(host), str(tmp_path / "proc"))


def test_file_is_missing_only_if_the_kernel_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tcp6").touch()
    assert is_there(str(tmp_path), "tcp6")
    assert not is_there(str(tmp_path), "udp6")
    assert not is_there(str(tmp_path), "tcp6", "below a file")

    def fail(path: str) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(os, "lstat", fail)
    with pytest.raises(TableError, match="tcp6 can't be read: Cannot allocate memory"):
        is_there(str(tmp_path), "tcp6")


def test_this_process_shares_its_own_network() -> None:
    assert locate("/proc").shared == (os.stat("/proc/1/net/dev").st_ino == os.stat("/proc/self/net/dev").st_ino)


def test_reader_without_a_proc_shares_nothing(tmp_path: Path) -> None:
    assert not locate(str(proc.tree(tmp_path)), str(tmp_path / "nothing")).shared


def test_missing_mount_is_an_error_that_names_it(tmp_path: Path) -> None:
    root = str(tmp_path / "host_proc")
    with pytest.raises(TableError) as caught:
        locate(root)
    assert str(caught.value) == (
        f"no network tables under {root} ({root}/1/net: No such file or directory; {root}/net: No such file or "
        "directory): is the host's /proc mounted there?"
    )


def test_file_over_the_size_limit_is_an_error(tmp_path: Path) -> None:
    """Memory is bounded whatever a table grows to. A longer file is not used in part."""
    name = tmp_path / "route"
    name.write_bytes(b"x" * MAX_FILE_BYTES)
    assert read(str(tmp_path), "route") == b"x" * MAX_FILE_BYTES
    name.write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    with pytest.raises(TableError, match=f"route is over {MAX_FILE_BYTES} bytes long"):
        read(str(tmp_path), "route")


def test_unreadable_file_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=f"^{tmp_path}/absent can't be read: No such file or directory$"):
        read(str(tmp_path), "absent")
    with pytest.raises(TableError, match=f"^{tmp_path} can't be read: Is a directory$"):
        read(str(tmp_path))
