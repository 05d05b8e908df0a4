"""For all tests: imports from the repository's root and from packaging/, no core by accident, no silent skip in CI."""

import gc
import importlib
import importlib.util
import logging
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, List, Union

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter  # pytest 7 has no public name for it

ROOT = Path(__file__).resolve().parent.parent
# In this order: packaging/ holds scripts and is no package, so "import packaging" must find the library of that name.
sys.path[:0] = [str(ROOT), str(ROOT / "packaging")]

# With these set, importing the handler starts the connector; a test that wants this sets them itself.
for name in ("MY_FUNCTION_ARN", "AWS_IOT_THING_NAME"):
    os.environ.pop(name, None)

# No deadline, so that no property fails because a machine is slow. Where CI is set the examples are the same each time:
# the fuzzer and runs by hand search for new ones.
settings.register_profile(
    "project",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("project")
if os.environ.get("CI") and importlib.util.find_spec("hypothesis.internal.conjecture.providers"):
    from hypothesis.internal.conjecture import providers

    # Releases since 2025 mix constants of the modules that are imported by then into the examples. Which these are
    # depends on the tests that a process of pytest-xdist was given before, and differs from run to run.
    providers._get_local_constants = lambda: providers._local_constants  # none


@pytest.fixture(autouse=True)
def _logging_as_found() -> Iterator[None]:
    logger = logging.getLogger("connector")
    level, handlers = logger.level, logger.handlers[:]
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


# Files with tests that take, or wait for, many seconds, the longest first: begun last, one of them would keep a process
# busy while the others have nothing left to do.
LONGEST = (
    "direct/test_wheel.py",
    "zip/test_hanging_core.py",
    "connector/test_soak.py",
    "detection/test_page_browser.py",
    "detection/test_page_chart.py",
    "zip/test_flood.py",
    "deployment/test_deploy_readme.py",
    "direct/test_systemd_readme.py",
    "detection/test_detection_readme.py",
    "zip/test_end_to_end.py",
    "connector/test_fault_injection.py",
    "zip/test_venv.py",
    "documents/test_device_policy.py",
    "zip/test_stop.py",
    "deployment/test_interruption.py",
    "zip/test_zip_content.py",
)


# Files whose tests share what takes seconds to make: one process runs all of such a file.
TOGETHER = (
    "direct/test_wheel.py",
    "connector/test_links_namespace.py",
    "connector/test_namespace.py",
    "deployment/test_native_on_a_nucleus.py",
    "deployment/test_templates.py",
    "detection/test_page_browser.py",
    "detection/test_page_chart.py",
)


# Large packages that tests import. In a new environment nothing is compiled: each of pytest-xdist's processes imports
# another one first, or all would compile the same modules at the same time.
LARGE = ("moto.server", "matplotlib.pyplot", "ibis", "playwright.sync_api")


# A shell makes what it starts in the background ignore Ctrl-C, and so would all programs that the tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    # What is imported stays: to search it for garbage, now and after each test, takes a third of the collection's time.
    gc.disable()
    worker = getattr(session.config, "workerinput", {}).get("workerid")
    if worker:
        name = LARGE[int(worker[len("gw") :]) % len(LARGE)]
        if importlib.util.find_spec(name.partition(".")[0]):
            importlib.import_module(name)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give the tests to pytest-xdist's processes one by one, but those of TOGETHER by file."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file.endswith(TOGETHER) else nodeid

    return Scheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    """Put the longest tests first; the rest keeps its order."""
    rank = {str(ROOT / "tests" / name): place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(str(item.fspath), len(rank)))


class SkipsFail:
    """Fails a run in which a test was skipped for a reason that is not allowed.

    allowed: a file with a regular expression of a reason on each line
    """

    def __init__(self, allowed: Path) -> None:
        lines = allowed.read_text(encoding="utf-8").splitlines()
        self._allowed = [re.compile(line) for line in lines if line and not line.startswith("#")]
        self._refused: List[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._check(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._check(report)

    def _check(self, report: Union[pytest.TestReport, pytest.CollectReport]) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, (tuple, list)) else str(report.longrepr)
            if not any(pattern.search(reason) for pattern in self._allowed):
                self._refused.append(f"{report.nodeid}: {reason}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._refused and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: "TerminalReporter") -> None:
        for line in self._refused:
            terminalreporter.write_line(f"FAILED, as it was skipped: {line}")


def pytest_configure(config: pytest.Config) -> None:
    """ALLOWED_SKIPS names the file of allowed reasons; without it any test may be skipped.

    Raises UsageError for a file that does not exist: pytest-xdist would only say that no tests ran.
    """
    for argument in config.args:
        path = argument.partition("::")[0].partition("[")[0]
        if not os.path.exists(os.path.join(str(config.invocation_params.dir), path)):
            raise pytest.UsageError(f"{path}: there is no such file or folder")
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # pytest-xdist 3.7 and later would begin with the largest groups
    allowed = os.environ.get("ALLOWED_SKIPS")
    if allowed and not hasattr(config, "workerinput"):  # the main process gets the reports of all workers
        config.pluginmanager.register(SkipsFail(ROOT / allowed))
