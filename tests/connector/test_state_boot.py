"""The state file is of one boot of the host: how a boot is told from another."""

from __future__ import annotations

from pathlib import Path

import pytest

from connector.memory import Memory
from connector.state import Boot, StateError, load, read_boot, same_boot, save

BOOT = Boot("b0071d00-0000-4000-8000-000000000001", 1_699_000_000)
MEMORY = Memory(report_id=1_700_000_300, sent=4711.25)


@pytest.mark.parametrize(
    ("boot", "same"),
    [
        (BOOT, True),
        (BOOT._replace(seconds=0), True),
        (BOOT._replace(seconds=BOOT.seconds + 86_400), True),  # the wall clock was set; it is the same boot
        (Boot("b0071d00-0000-4000-8000-000000000002", BOOT.seconds), False),
        (Boot("", BOOT.seconds), False),
        (Boot("", 0), False),
    ],
)
def test_boot_id_decides_which_boot_it_is(tmp_path: Path, boot: Boot, same: bool) -> None:
    save(str(tmp_path), "gateway-7", BOOT, MEMORY)
    if same:
        assert load(str(tmp_path), "gateway-7", boot) == MEMORY
        return
    with pytest.raises(StateError, match="is of an earlier boot, whose last traffic is not reported") as raised:
        load(str(tmp_path), "gateway-7", boot)
    assert raised.value.memory == Memory(report_id=MEMORY.report_id), "ids increase over a boot, too"


@pytest.mark.parametrize(("seconds", "same"), [(100, True), (105, True), (95, True), (106, False), (94, False)])
def test_boot_time_decides_where_the_id_is_hidden(seconds: int, same: bool) -> None:
    assert same_boot(Boot("", 100), Boot("", seconds)) is same


def test_two_unknown_boots_are_not_the_same() -> None:
    assert not same_boot(Boot("", 0), Boot("", 0))


def test_boot_is_read_from_the_mounted_proc(tmp_path: Path) -> None:
    (tmp_path / "sys" / "kernel" / "random").mkdir(parents=True)
    (tmp_path / "sys" / "kernel" / "random" / "boot_id").write_text(BOOT.boot_id + "\n")
    (tmp_path / "stat").write_text("cpu  1 2\nintr 5\nctxt 9\nbtime 1699000000\nprocesses 3\n")
    assert read_boot(str(tmp_path)) == BOOT
    (tmp_path / "sys" / "kernel" / "random" / "boot_id").unlink()
    assert read_boot(str(tmp_path)) == Boot("", 1_699_000_000)
    (tmp_path / "stat").write_text("btime " + "9" * 30 + "\n")
    assert read_boot(str(tmp_path)) is None
    (tmp_path / "stat").unlink()
    assert read_boot(str(tmp_path)) is None


@pytest.mark.parametrize("name", ["stat", "sys/kernel/random/boot_id"])
def test_boot_is_unknown_while_a_file_of_it_fails(tmp_path: Path, name: str) -> None:
    """A missing id must not look like another boot: the saved traffic would be dropped."""
    (tmp_path / "sys" / "kernel" / "random").mkdir(parents=True)
    (tmp_path / "sys" / "kernel" / "random" / "boot_id").write_text(BOOT.boot_id + "\n")
    (tmp_path / "stat").write_text("btime 1699000000\n")
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/proc/self/mem")  # opens; the first read is an EIO
    assert read_boot(str(tmp_path)) is None


def test_this_machine_has_a_boot() -> None:
    boot = read_boot("/proc")
    assert boot is not None
    assert boot.boot_id
    assert boot.seconds > 0
