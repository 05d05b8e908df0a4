"""The bytecode in the zips: Python uses it, tracebacks keep their lines, and every builder writes the same."""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import build_zip
import bytecode
import pytest
from support.builder import NAME, RUNNING, Zips, copy_repository, run

pytestmark = pytest.mark.skipif(
    RUNNING not in build_zip.PYTHONS or bytecode.find_interpreter(RUNNING) is None,
    reason=f"there is no release of Python {RUNNING} here that could write bytecode",
)

# Docstrings are left out of the bytecode, so their absence shows that it was used.
IMPORT = "import connector.report, greengrasssdk, cbor2; print(connector.report.__doc__, connector.report.__file__)"


def imported(path: Path, program: str = IMPORT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-S", "-c", program], env={"PYTHONPATH": str(path)}, capture_output=True, text=True, cwd="/"
    )


@pytest.fixture
def unpacked(zips: Zips, tmp_path: Path) -> Path:
    """Return a folder with the zip for the running Python, read-only as a core has it."""
    with zipfile.ZipFile(str(zips((RUNNING, "any")))) as archive:
        archive.extractall(str(tmp_path / "function"))
    return tmp_path / "function"


def test_unpacked_zip_is_loaded_from_bytecode(unpacked: Path) -> None:
    done = imported(unpacked)
    assert (done.stdout, done.stderr) == (f"None {unpacked}/connector/report.py\n", "")


def test_unchecked_bytecode_is_used_whatever_the_time_of_the_source(unpacked: Path) -> None:
    """PEP 552: so unpacking may give the sources any time."""
    os.utime(str(unpacked / "connector" / "report.py"), (1, 1))
    assert imported(unpacked).stdout.startswith("None ")


@pytest.mark.skipif(sys.version_info < (3, 8), reason="Python 3.7 ignores hash-based bytecode in a zip")
def test_zip_on_the_path_is_loaded_from_bytecode(zips: Zips) -> None:
    path = zips((RUNNING, "any"))
    done = imported(path)
    assert done.stdout.startswith("None "), done.stderr


def test_traceback_names_file_line_and_source(unpacked: Path) -> None:
    failed = imported(unpacked, "from connector import encode; encode.encode({1: object()}, 'json')")
    source = unpacked / "connector" / "encode.py"
    line = next(part for part in failed.stderr.splitlines() if str(source) in part)
    number = int(line.split("line ")[1].split(",")[0])
    assert source.read_text().splitlines()[number - 1].strip() in failed.stderr


def test_functions_and_fields_are_in_the_bytecode_without_annotations(unpacked: Path) -> None:
    program = """
import sys
from connector import report, snapshot
print(report.build.__annotations__, snapshot.Port._fields, snapshot.Port(22, "eth0"), "__future__" in sys.modules)
"""
    done = imported(unpacked, program)
    assert (done.stdout, done.stderr) == ("{} ('port', 'interface') Port(port=22, interface='eth0') False\n", "")


ANNOTATED = b"""
from __future__ import annotations
from typing import NamedTuple
counted: NoSuchName = 1
unset: NoSuchName
class Plain:
    kept: NoSuchName = 2
    unset: NoSuchName
class Row(NamedTuple):
    left: NoSuchName
    right: NoSuchName = "default"
    def both(self) -> NoSuchName:
        joined: NoSuchName = (self.left, self.right)
        return joined
async def waits(argument: NoSuchName, *more: NoSuchName) -> NoSuchName: ...
def outer() -> NoSuchName:
    local: NoSuchName
    def inner() -> NoSuchName:
        nonlocal local
        local = "set by inner"
    inner()
    return local
"""


def test_code_does_the_same_without_annotations() -> None:
    interpreter = bytecode.find_interpreter(RUNNING)
    assert interpreter is not None
    compiled = bytecode.compile_sources(interpreter, {"annotated.py": ANNOTATED})["annotated.py"]
    found: dict[str, Any] = {}
    exec(marshal.loads(compiled[16:]), found)
    assert (found["counted"], "unset" in found, found["outer"]()) == (1, False, "set by inner")
    assert (found["Plain"].kept, hasattr(found["Plain"], "unset")) == (2, False)
    assert found["Row"]("given").both() == ("given", "default")


def test_bytecode_does_not_depend_on_seed_path_or_earlier_imports(tmp_path: Path) -> None:
    """The interpreter is started as one with other settings, in another folder, with modules that share its strings."""
    sources = {
        f"{path.parent.name}/{path.name}": path.read_bytes() for path in Path(build_zip.ROOT, "connector").rglob("*.py")
    }
    sources["sets.py"] = b"def f(x): return x in {'a', 'b', 'c', 'deliveries', 'd e'}"
    interpreter = bytecode.find_interpreter(RUNNING)
    assert interpreter is not None
    first = bytecode.compile_sources(interpreter, sources)
    other = tmp_path / "python"
    other.write_text(
        f'#!/bin/sh\nexec {interpreter.path} -X utf8 -X dev "$1" "$2" "$3" "$4" "$5" "import decimal, email.message, '
        'http.client, logging, socket, typing; $6"\n'
    )
    other.chmod(0o755)
    previous = os.getcwd()
    try:
        os.chdir(str(tmp_path))
        again = bytecode.compile_sources(interpreter._replace(path=str(other)), dict(reversed(list(sources.items()))))
    finally:
        os.chdir(previous)
    assert again == first


def test_builder_without_an_interpreter_of_the_version_says_so(tmp_path: Path) -> None:
    """No bytecode, another name, and a line that says what to do."""
    version = "3.8" if RUNNING != "3.8" else "3.9"
    folder = copy_repository(tmp_path / "repository")
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    done = run(folder, "--python", version, "--arch", "any", PATH=str(nothing), PYENV_ROOT=str(nothing))
    name = f"{NAME}-py{version.replace('.', '')}-any-nobytecode.zip"
    assert (done.returncode, done.stdout.split(" ")[0]) == (0, f"dist/{name}")
    assert done.stderr == (
        f"build_zip.sh: {name} has no bytecode, as there is no CPython {version} on PATH or in pyenv: "
        "the connector takes longer to start and more memory. Install that Python and build again.\n"
    )
    with zipfile.ZipFile(str(folder / "dist" / name)) as archive:
        assert [entry for entry in archive.namelist() if entry.endswith(".pyc")] == []


@pytest.mark.parametrize(
    "script",
    ["exit 1", "echo pypy 3 11 9 final", "echo cpython 3 11 0 alpha", "echo cpython 3 9 1 final", "echo"],
)
def test_other_programs_named_python_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    python = tmp_path / "python3.11"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(python))
    assert bytecode.find_interpreter("3.11") is None


def test_source_that_cant_be_compiled_is_an_error_with_the_line() -> None:
    interpreter = bytecode.find_interpreter(RUNNING)
    assert interpreter is not None
    with pytest.raises(bytecode.CompileError, match='can\'t compile the sources: .*SyntaxError: .*"broken.py", line 2'):
        bytecode.compile_sources(interpreter, {"fine.py": b"1", "broken.py": b"1\nclass"})
