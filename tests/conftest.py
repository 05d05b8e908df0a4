"""What every test needs: the repository's root and the scripts' directory importable, and no core by accident."""

import logging
import os
import sys
from pathlib import Path
from typing import Iterator

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
# Never the other way round: packaging/ holds scripts, and is no package itself.
sys.path[:0] = [str(ROOT), str(ROOT / "packaging")]

# The handler starts the connector where this is set; no test runs on a core that it did not make itself.
for name in ("MY_FUNCTION_ARN", "AWS_IOT_THING_NAME"):
    os.environ.pop(name, None)

# No property fails because a machine is slow, nor, where a change is about to land (CI is set), by chance: there the
# examples are the same each time, and looking for new ones is the fuzzer's work and that of a run by hand.
settings.register_profile(
    "project",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def _logging_as_found() -> Iterator[None]:
    logger = logging.getLogger("connector")
    level, handlers = logger.level, logger.handlers[:]
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers
