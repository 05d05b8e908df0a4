"""The zips that several tests look into."""

import os

import pytest
from support.builder import Zips


@pytest.fixture(scope="session")
def zips(tmp_path_factory: pytest.TempPathFactory) -> Zips:
    """Return a target's zip, built once a run: the processes of pytest-xdist have folders beside each other."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "zips"
    folder.mkdir(exist_ok=True)
    return Zips(folder)
