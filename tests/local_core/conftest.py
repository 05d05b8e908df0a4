"""Fixtures that make and run small functions, and start a nucleus."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from typing import Any, Callable, Iterator, List, Mapping, Union

import pytest
from support.functions import Watched
from support.nucleus import WatchedNucleus


@pytest.fixture(scope="session")
def sdk() -> Path:
    """Return the directory of the real greengrasssdk package."""
    spec = importlib.util.find_spec("greengrasssdk")
    assert spec is not None, "the tests need greengrasssdk 1.6.1 (pip install --no-deps greengrasssdk==1.6.1)"
    assert spec.origin is not None
    return Path(spec.origin).parent


@pytest.fixture
def make_zip(tmp_path: Path, sdk: Path) -> Callable[..., Path]:
    """Return what makes a function's zip of files, given as path=source, and the SDK."""

    def make(files: Mapping[str, str]) -> Path:
        path = tmp_path / "function.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, source in files.items():
                archive.writestr(name, source)
            for file in sdk.rglob("*.py"):
                archive.write(file, "greengrasssdk/" + str(file.relative_to(sdk)))
        return path

    return make


@pytest.fixture
def run(make_zip: Callable[..., Path]) -> Iterator[Callable[..., Watched]]:
    """Return what starts a local core with a function's source; all are stopped in the end."""
    started: List[Watched] = []

    def start(source: Union[str, Mapping[str, str]], **settings: Any) -> Watched:
        files = {"function.py": source} if isinstance(source, str) else source
        watched = Watched(make_zip(files), **{"handler": "function.handler", **settings})
        started.append(watched)
        watched.start()
        return watched

    yield start
    for watched in started:
        watched.stop()


@pytest.fixture
def start_nucleus() -> Iterator[Callable[..., WatchedNucleus]]:
    """Return what starts a local nucleus, without a component unless one is given; all are stopped in the end."""
    started: List[WatchedNucleus] = []

    def start(nucleus: str = "lite", **settings: Any) -> WatchedNucleus:
        started.append(WatchedNucleus(nucleus=nucleus, **settings))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.stop()
