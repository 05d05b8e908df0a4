"""`python -m connector`: its options, its help, and wrong usage."""

from __future__ import annotations

from typing import List

import pytest

from connector import __version__
from connector.__main__ import main
from connector.flags import READ_BY_FUNCTION, spellings


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-n", "0"], "argument -n: '0' is not a number of reports, 1 to 1000000000"),
        (["-n", "two"], "argument -n: 'two' is not a number of reports, 1 to 1000000000"),
        (["-s", "-1"], "argument -s: '-1' is not a number of seconds"),
        (["-s", "nan"], "argument -s: 'nan' is not a number of seconds"),
        (["-s", "inf"], "argument -s: 'inf' is not a number of seconds, 0 to 1000000000"),
        (["--max-list-size", "501"], "argument --MaxListSize/--max-list-size: '501' is not valid: 1 to 500"),
        (["--MaxListSize", "5.5"], "argument --MaxListSize/--max-list-size: '5.5' is not valid: 1 to 500"),
        (["--format", "xml"], "argument --ReportFormat/--report-format/--format: 'xml' is not valid: json or cbor"),
        (["--MetricNames", "Long"], "argument --MetricNames/--metric-names: 'Long' is not valid: long or short"),
        (["--custom-metrics", "cpu"], "argument --CustomMetrics/--custom-metrics: 'cpu' is not valid: names separated"),
        (["--exclude-interfaces", "lo eth0"], "argument --ExcludeInterfaces/--exclude-interfaces: 'lo eth0' is not va"),
        (["--interval", "5"], "unrecognized arguments: --interval 5"),
        (["300"], "unrecognized arguments: 300"),
    ],
)
def test_wrong_usage_is_one_line_and_ends_with_2(
    capsys: pytest.CaptureFixture[str], arguments: List[str], words: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith(f"python -m connector: {words}")
    assert err.endswith(" (python -m connector --help lists the options)\n")
    assert err.count("\n") == 1


def shown(capsys: pytest.CaptureFixture[str], option: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([option])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    return out


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--help")
    options = ["-n COUNT", "-s SECONDS", "--proc PATH", "--short-names", "--format", "--version"]
    options += [flag for parameter in READ_BY_FUNCTION for flag in spellings(parameter)]
    assert [option for option in options if option not in text] == []
    assert "python -m connector -n 2 -s 10" in text
    assert "python -m connector run " in text
    assert "python -m connector component " in text
    assert "Exit codes: 0 all printed, 1 a report could not be made or written, 2 wrong usage, " in text


def test_help_breaks_no_value_in_two(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = " ".join(shown(capsys, "--help").split())
    defaults = [each.default.replace(",", ", ") if each.is_list else each.default for each in READ_BY_FUNCTION]
    assert [default for default in defaults if default not in text] == []


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "--version") == f"{__version__}\n"
