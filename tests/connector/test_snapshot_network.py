"""Whose network a snapshot shows: never silently this function's own in place of the host's."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import Any, Callable

import pytest
from support import proc

from connector.snapshot import Ports, Snapshot, Source, Wanted, take

LISTENING = proc.tcp(("0.0.0.0:22", proc.V4_NOBODY, "LISTEN"))


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A mount that shows the host's network, with a listener, and as `net` the reader's own, without any."""
    mount = proc.machine(proc.tree(tmp_path / "host_proc", tcp=LISTENING))
    (mount / "net").symlink_to(proc.tree(tmp_path / "own") / "1" / "net")
    return mount


def hide(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if proc was mounted again with hidepid."""
    (host / "1").rename(host.parent / "hidden")


def fail(number: int) -> Callable[[Path, pytest.MonkeyPatch], None]:
    """Return a function that lets stat(2) of the host's `net/dev` fail."""

    def install(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stat = os.stat

        def failing(path: Any, **options: Any) -> os.stat_result:
            if path == str(host / "1" / "net" / "dev"):
                raise OSError(number, os.strerror(number), path)
            return stat(path, **options)

        monkeypatch.setattr(os, "stat", failing)

    return install


def test_hidden_host_is_a_problem_that_says_whose_network_is_read(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hidepid only `<proc>/net` is readable, the reader's own."""
    hide(host, monkeypatch)
    snapshot = proc.look(host)
    assert (snapshot.host_network, snapshot.listening_tcp) == (False, Ports(0, []))
    assert snapshot.problems == {
        "host's network": f"{host}/1/net can't be read (is proc mounted with hidepid?): reports show the network of "
        "this function, which is the host's only where they share it"
    }


@pytest.mark.parametrize("fault", [hide, fail(errno.EACCES), fail(errno.EPERM), fail(errno.ENOMEM), fail(errno.EIO)])
def test_network_is_missing_while_the_hosts_can_not_be_read_any_more(
    host: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Path, pytest.MonkeyPatch], None]
) -> None:
    """An empty list of listeners, of the function's own network, would clear an alarm."""
    wanted = Wanted(str(host), 50, ["lo"], ["uptime_seconds"])
    source = Source(wanted, random.Random(1), own=str(host / "none"))
    before = source.take()
    assert (before.host_network, before.listening_tcp and before.listening_tcp.total) == (True, 1)
    with monkeypatch.context() as patch:
        fault(host, patch)
        for _ in range(2):
            during = source.take()
            assert during._replace(problems={}) == Snapshot(custom={"uptime_seconds": 35353})
            assert list(during.problems) == ["network tables"]
            assert f"{host}/1/net" in during.problems["network tables"]
    if not (host / "1").exists():
        (host.parent / "hidden").rename(host / "1")
    assert source.take() == before


def test_readers_network_may_be_replaced_by_the_hosts(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example, the proc mount comes later than the function."""
    source = Source(Wanted(str(host), 50, ["lo"], ()), random.Random(1), own=str(host / "none"))
    hide(host, monkeypatch)
    assert [source.take().host_network, source.take().host_network] == [False, False]
    (host.parent / "hidden").rename(host / "1")
    assert source.take().host_network


def test_names_in_the_same_network_come_from_rtnetlink(tmp_path: Path) -> None:
    """The tables of IPv4 addresses are not needed."""
    tree = proc.tree(tmp_path / "host", fib_trie=None, route=None)
    own = tmp_path / "proc"
    (own / "self").mkdir(parents=True)
    (own / "self" / "net").symlink_to(tree / "1" / "net")
    wanted = Wanted(str(tree), 50, ["lo"], ())
    assert take(wanted, random.Random(1), own=str(own)).problems == {}
    elsewhere = take(wanted, random.Random(1), own=str(tmp_path / "nothing"))
    assert list(elsewhere.problems) == ["IPv4 interface names"]
