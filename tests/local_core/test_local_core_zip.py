"""What the local core does with the zip that it gets."""

import re
import stat
import sys
import zipfile
from pathlib import Path
from typing import Callable

import pytest
from local_core import FunctionError, LocalCore, LocalCoreError
from local_core.function import unpack


def write_zip(path: Path, name: str, mode: int = 0o100644) -> Path:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    return path


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("/absolute", 0o100644),
        ("../outside", 0o100644),
        ("a/../../outside", 0o100644),
        ("a\\..\\outside", 0o100644),
        ("link", stat.S_IFLNK | 0o777),
    ],
)
def test_zip_with_links_or_paths_outside_its_root_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    with pytest.raises(LocalCoreError, match="is a link or leaves the directory"):
        unpack(write_zip(tmp_path / "bad.zip", name, mode), tmp_path / "into")
    assert [path.name for path in tmp_path.rglob("*")] == ["bad.zip"]


def test_unpacked_program_is_executable(tmp_path: Path) -> None:
    unpack(write_zip(tmp_path / "good.zip", "bin/program", 0o100755), tmp_path / "into")
    program = tmp_path / "into" / "bin" / "program"
    assert oct(program.stat().st_mode) == "0o100555"
    program.parent.chmod(0o755)  # for pytest, which removes it
    (tmp_path / "into").chmod(0o755)


def test_failed_import_of_a_zip_for_another_python_names_both(make_zip: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "connector-1.0.0-py36-x86_64.zip"
    make_zip({"function.py": "import _missing_module"}).rename(path)
    running = "{}.{}".format(*sys.version_info)
    with pytest.raises(FunctionError, match=rf"\(this zip is for Python 3\.6 and runs on {re.escape(running)}: choose"):
        with LocalCore(path, handler="function.handler"):
            pass


def test_file_that_is_not_a_zip_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalCoreError, match="there is no file .*missing.zip"):
        unpack(tmp_path / "missing.zip", tmp_path / "into")
    (tmp_path / "text.zip").write_text("text")
    with pytest.raises(LocalCoreError, match="text.zip can't be unpacked: File is not a zip file"):
        unpack(tmp_path / "text.zip", tmp_path / "into")
