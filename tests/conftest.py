"""What every test needs: the repository's root and the scripts' directory importable, and no core by accident."""

import logging
import os
import sys
from pathlib import Path
from typing import Iterator

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Never the other way round: packaging/ holds scripts, and is no package itself.
sys.path[:0] = [str(ROOT), str(ROOT / "packaging")]

# The handler starts the connector where this is set; no test runs on a core that it did not make itself.
for name in ("MY_FUNCTION_ARN", "AWS_IOT_THING_NAME"):
    os.environ.pop(name, None)


@pytest.fixture(autouse=True)
def _logging_as_found() -> Iterator[None]:
    logger = logging.getLogger("connector")
    level, handlers = logger.level, logger.handlers[:]
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers
