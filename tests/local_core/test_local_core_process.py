"""The process of a function or component: how it is stopped."""

import os
import sys
from pathlib import Path

from local_core.function import Function


def test_process_that_was_waited_for_elsewhere_is_stopped_without_an_error(tmp_path: Path) -> None:
    process = Function([sys.executable, "-c", ""], {}, tmp_path, None, print)
    os.waitpid(process.pid, 0)  # as the thread that watches a component does
    assert process.stop() == 0
