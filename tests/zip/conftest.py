"""The zips that several tests look into."""

import pytest
from support.builder import Zips


@pytest.fixture(scope="session")
def zips(tmp_path_factory: pytest.TempPathFactory) -> Zips:
    """Return a target's zip, built once a session."""
    return Zips(tmp_path_factory.mktemp("repository"))
