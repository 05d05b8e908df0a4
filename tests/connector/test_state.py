"""The state file: saving, loading, and other content in its place."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.descriptors import open_paths

from connector import state
from connector.kernel.counting import MAX_OTHERS, Earlier
from connector.kernel.dev import MAX_INTERFACES, Counters
from connector.kernel.host import TICKS_PER_SECOND, CpuTimes
from connector.memory import Memory
from connector.state import Boot, StateError, load, save
from connector.traffic import MAX_FAULTY, MAX_GONE, Traffic

BOOT = Boot("b0071d00-0000-4000-8000-000000000001", 1_699_000_000)
MEMORY = Memory(
    report_id=1_700_000_300,
    sent=4711.25,
    cpu=CpuTimes(1250, 2**64 + 10025),
    traffic=Traffic(
        scope="/host_proc/1/net without lo",
        counters={"eth0": Counters(2**64 - 1, 2, 3, 4), "w\udcff\x1b": Counters(5, 6, 7, 8)},
        unsent=Counters(-9, 10, 11, 12),
    ),
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


def write(directory: Path, document: Any) -> None:
    (directory / state.FILE).write_text(document if isinstance(document, str) else json.dumps(document))


def saved(directory: Path) -> Dict[str, Any]:
    """Save MEMORY; return what the file then says."""
    save(str(directory), "gateway-7", BOOT, MEMORY)
    document: Dict[str, Any] = json.loads((directory / state.FILE).read_text())
    return document


@pytest.mark.parametrize("memory", [MEMORY, Memory(), Memory(report_id=1), MEMORY._replace(cpu=None)])
def test_saved_memory_is_loaded_again(directory: Path, memory: Memory) -> None:
    save(str(directory), "gateway-7", BOOT, memory)
    assert load(str(directory), "gateway-7", BOOT) == memory
    save(str(directory), "gateway-7", BOOT, memory._replace(report_id=2_000_000_000))
    assert load(str(directory), "gateway-7", BOOT) == memory._replace(report_id=2_000_000_000)


def test_processor_times_of_version_1_0_are_converted_from_seconds(directory: Path) -> None:
    write(directory, dict(saved(directory), cpu=[12.5, 100.29]))
    memory = load(str(directory), "gateway-7", BOOT)
    assert memory.cpu == CpuTimes(round(12.5 * TICKS_PER_SECOND), round(100.29 * TICKS_PER_SECOND))


def test_missing_file_is_an_empty_memory(directory: Path) -> None:
    assert load(str(directory), "gateway-7", BOOT) == Memory()
    assert load(str(directory / "missing"), "gateway-7", BOOT) == Memory()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_file_is_private_and_alone_in_its_directory(directory: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        for _ in range(3):
            save(str(directory), "gateway-7", BOOT, MEMORY)
    finally:
        os.umask(before)
    (path,) = directory.iterdir()
    assert path.name == state.FILE
    assert path.stat().st_mode & 0o7777 == 0o600


def test_largest_number_of_interfaces_fits(directory: Path) -> None:
    """With the longest names that JSON may make of 15 bytes, and the greatest numbers."""
    counters = {"\udcff" * 11 + f"{number:04}": Counters(*[2**64 - 1] * 4) for number in range(MAX_INTERFACES)}
    numbers = Counters(*[2**64 - 1] * 4)
    traffic = MEMORY.traffic._replace(
        counters=counters,
        indexes=dict.fromkeys(counters, 2**31 - 1),
        others={name: (Earlier(numbers, numbers),) * MAX_OTHERS for name in list(counters)[:MAX_FAULTY]},
        gone={"\udcff" * 11 + f"x{number:03}": 2**31 - 1 for number in range(MAX_GONE)},
    )
    memory = MEMORY._replace(traffic=traffic)
    save(str(directory), "gateway-7", BOOT, memory)
    assert load(str(directory), "gateway-7", BOOT) == memory


ALL = MEMORY._replace(
    traffic=MEMORY.traffic._replace(
        scope="/host_proc/1/net",
        excluded="lo,veth*",
        indexes={"eth0": 2, "wlan0": 3},
        last_index=17,
        others={"eth0": (Earlier(Counters(9, 8, 7, 6), Counters(1, 2, 3, 4)), Earlier(Counters(5, 4, 3, 2)))},
        gone={"ppp0": 9, "\udcff": 0},
    )
)


def test_indexes_and_earlier_readings_survive_a_restart(directory: Path) -> None:
    save(str(directory), "gateway-7", BOOT, ALL)
    assert load(str(directory), "gateway-7", BOOT) == ALL


def test_file_of_version_1_0_without_indexes_is_read(directory: Path) -> None:
    """Its scope had the excluded interfaces in it; its interfaces are known by name only."""
    save(str(directory), "gateway-7", BOOT, ALL)
    path = directory / state.FILE
    document = json.loads(path.read_text())
    for field in ("indexes", "last_index", "others", "gone"):
        del document[field]
    assert document["scope"] == "/host_proc/1/net without lo,veth*"
    write(directory, document)
    traffic = ALL.traffic._replace(indexes={}, last_index=0, others={}, gone={})
    assert load(str(directory), "gateway-7", BOOT) == ALL._replace(traffic=traffic)


# --- which boot, which thing


def test_file_is_synced_before_it_is_renamed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a loss of power may leave an empty file, and report ids that start again."""
    steps: List[str] = []
    replace, fsync = os.replace, os.fsync

    def synced(descriptor: int) -> None:
        steps.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        assert json.loads(Path(steps[-1]).read_text())["thing"] == "gateway-7"
        fsync(descriptor)

    def replaced(new: str, path: str) -> None:
        steps.append(path)
        replace(new, path)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    saved(directory)
    path = str(directory / state.FILE)
    assert steps == [path + ".new", path]


def test_file_of_another_thing_is_refused(directory: Path) -> None:
    saved(directory)
    with pytest.raises(StateError, match="belongs to the thing 'gateway-7' and was ignored") as raised:
        load(str(directory), "gateway-8", BOOT)
    assert raised.value.memory == Memory()


# --- other content


def test_truncated_file_is_refused(directory: Path) -> None:
    saved(directory)
    path = directory / state.FILE
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(StateError, match="is damaged or of another version and was ignored"):
            load(str(directory), "gateway-7", BOOT)


OTHER_JSON = [
    "null",
    "[]",
    "3",
    '"text"',
    "{}",
    "NaN",
    "[" * 100_000,
    '{"version":1}',
    '{"version":' + "1" * 10_000 + "}",
    "\xff\xfe",
]


@pytest.mark.parametrize("text", OTHER_JSON, ids=[text[:12] for text in OTHER_JSON])
def test_other_json_is_refused(directory: Path, text: str) -> None:
    (directory / state.FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(StateError, match="is damaged or of another version and was ignored"):
        load(str(directory), "gateway-7", BOOT)


ODD: Dict[str, Any] = {
    "version": 2,
    "thing": 5,
    "boot": ["x"],
    "report_id": -1,
    "sent": "soon",
    "cpu": [1.0],
    "interfaces": {"eth0": [1, 2, 3]},
    "unsent": [1.5, 0, 0, 0],
    "indexes": {"eth0": -1},
    "last_index": "7",
    "others": {"eth0": [1, 2, 3, 4, 5, 6, 7]},
    "gone": ["ppp0"],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *ODD.items(),
        ("boot", [None, None]),
        ("boot", ["x", -1]),
        ("report_id", True),
        ("report_id", 1.0),
        ("report_id", 2**53),
        ("sent", -1.0),
        ("sent", float("nan")),
        ("sent", float("inf")),
        ("sent", True),
        ("cpu", [1.0, float("nan")]),
        ("cpu", [1, -1]),
        ("cpu", [True, 1]),
        ("cpu", [1, 2, 3]),
        ("cpu", {"busy": 1}),
        ("interfaces", []),
        ("interfaces", {"eth0": None}),
        ("interfaces", {"eth0": [1, 2, 3, -4]}),
        ("interfaces", {"eth0": [1, 2, 3, 10**400]}),
        ("unsent", {}),
        ("unsent", [0, 0, 0]),
    ],
)
def test_one_invalid_field_makes_the_file_invalid(directory: Path, field: str, value: Any) -> None:
    write(directory, dict(saved(directory), **{field: value}))
    with pytest.raises(StateError, match="was ignored"):
        load(str(directory), "gateway-7", BOOT)


@pytest.mark.parametrize(
    "field", ["version", "thing", "boot", "report_id", "sent", "cpu", "interfaces", "unsent", "scope"]
)
def test_one_missing_field_makes_the_file_invalid(directory: Path, field: str) -> None:
    document = saved(directory)
    del document[field]
    write(directory, document)
    with pytest.raises(StateError, match="is damaged or of another version and was ignored .KeyError"):
        load(str(directory), "gateway-7", BOOT)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=5) | st.dictionaries(st.text(), values, max_size=5),
    max_leaves=20,
)


@given(field=st.sampled_from(sorted(ODD) + ["scope"]), value=json_values)
@example(field="scope", value=None)
def test_any_value_in_a_field_is_loaded_or_refused(directory: Path, field: str, value: Any) -> None:
    write(directory, dict(saved(directory), **{field: value}))
    try:
        memory = load(str(directory), "gateway-7", BOOT)
    except StateError:
        return
    # What was loaded can be saved and loaded again.
    save(str(directory), "gateway-7", BOOT, memory)
    assert load(str(directory), "gateway-7", BOOT) == memory


@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused(directory: Path, content: bytes) -> None:
    (directory / state.FILE).write_bytes(content)
    with pytest.raises(StateError):
        load(str(directory), "gateway-7", BOOT)


def test_file_over_the_limit_is_refused_without_reading_it_all(directory: Path) -> None:
    with (directory / state.FILE).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(StateError, match=f"is over {state.MAX_FILE_BYTES} bytes long and was ignored"):
        load(str(directory), "gateway-7", BOOT)


def make_link(path: Path) -> None:
    path.with_name("victim").write_text("precious")
    path.symlink_to(path.with_name("victim"))


def make_pipe(path: Path) -> None:
    os.mkfifo(str(path))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_link, "can't be read: Too many levels of symbolic links"),
        (make_pipe, "is not a regular file and was ignored"),
        (Path.mkdir, "can't be read: Is a directory"),
    ],
)
def test_other_kinds_of_file_are_refused(directory: Path, make: Callable[[Path], None], reason: str) -> None:
    make(directory / state.FILE)
    with pytest.raises(StateError, match=reason):
        load(str(directory), "gateway-7", BOOT)


def test_pipe_with_a_writer_is_refused(directory: Path) -> None:
    make_pipe(directory / state.FILE)
    descriptor = os.open(str(directory / state.FILE), os.O_RDWR)
    try:
        with pytest.raises(StateError, match="is not a regular file and was ignored"):
            load(str(directory), "gateway-7", BOOT)
    finally:
        os.close(descriptor)


def test_refused_file_leaves_no_descriptor_open(directory: Path) -> None:
    (directory / state.FILE).mkdir()
    for _ in range(20):
        with pytest.raises(StateError):
            load(str(directory), "gateway-7", BOOT)
    assert [path for path in open_paths() if path.startswith(str(directory))] == []


# --- writing


@pytest.mark.parametrize("name", [state.FILE, state.FILE + ".new"])
def test_link_in_the_files_place_is_replaced_and_not_followed(directory: Path, name: str) -> None:
    make_link(directory / name)
    save(str(directory), "gateway-7", BOOT, MEMORY)
    assert (directory / "victim").read_text() == "precious"
    assert load(str(directory), "gateway-7", BOOT) == MEMORY


def test_rest_of_an_interrupted_write_is_replaced(directory: Path) -> None:
    (directory / (state.FILE + ".new")).write_text("half")
    save(str(directory), "gateway-7", BOOT, MEMORY)
    assert os.listdir(str(directory)) == [state.FILE]


def test_failed_write_keeps_the_old_file(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(directory)

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(json, "dump", full)
        with pytest.raises(StateError, match="can't be written: No space left on device"):
            save(str(directory), "gateway-7", BOOT, Memory())
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(StateError, match="can't be written: No space left on device"):
            save(str(directory), "gateway-7", BOOT, Memory())
    assert load(str(directory), "gateway-7", BOOT) == MEMORY


def test_reader_during_a_write_sees_the_old_file(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(directory)
    seen = []
    dump = json.dump

    def watched(*arguments: Any, **options: Any) -> None:
        dump(*arguments, **options)
        seen.append(load(str(directory), "gateway-7", BOOT))

    monkeypatch.setattr(json, "dump", watched)
    save(str(directory), "gateway-7", BOOT, Memory())
    assert seen == [MEMORY]
    assert load(str(directory), "gateway-7", BOOT) == Memory()


@pytest.mark.parametrize("place", ["missing", "a-file"])
def test_missing_directory_is_an_error(directory: Path, place: str) -> None:
    (directory / "a-file").write_text("")
    with pytest.raises(StateError, match=f"/{place}/{state.FILE} can't be written: "):
        save(str(directory / place), "gateway-7", BOOT, MEMORY)
