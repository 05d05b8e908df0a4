"""--fault: which faults there are, and what is said of one that can't be."""

from typing import List, Sequence, Tuple

import pytest
from fault_kinds import CORE, NUCLEUS, form
from run_local_options import parse


def faults(*texts: str, options: Sequence[str] = ()) -> List[Tuple[str, int]]:
    return list(parse(["a.zip", *options, *(f"--fault={text}" for text in texts)], None).fault)


def refusal(text: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        faults(text)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_a_fault_has_a_number_or_the_default() -> None:
    assert faults("status:503", "status:400:2", "redirect:65535:3", "hang", "refuse:999999") == [
        ("status:503", 1),
        ("status:400", 2),
        ("redirect:65535", 3),
        ("hang", 1),
        ("refuse", 999999),
    ]
    assert faults("mqtt-lost", "mqtt-lost:30", "mqtt-restart", "error:2", options=["--native"]) == [
        ("mqtt-lost", 5),
        ("mqtt-lost", 30),
        ("mqtt-restart", 1),
        ("error", 2),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("status", "'status' is not status:CODE[:COUNT], CODE from 400 to 599, COUNT from 1 to 999999"),
        ("status:399", "'status:399' is not status:CODE[:COUNT], CODE from 400 to 599, "),
        ("status:600", "'status:600' is not status:CODE[:COUNT], CODE from 400 to 599, "),
        ("redirect:0", "'redirect:0' is not redirect:PORT[:COUNT], PORT from 1 to 65535, "),
        ("redirect:65536", "'redirect:65536' is not redirect:PORT[:COUNT], PORT from 1 to 65535, "),
        ("redirect:99999", "'redirect:99999' is not redirect:PORT[:COUNT], PORT from 1 to 65535, "),
        ("redirect:80:0", "'redirect:80:0' is not redirect:PORT[:COUNT], PORT from 1 to 65535, "),
        ("redirect:80:1:1", "'redirect:80:1:1' is not redirect:PORT[:COUNT], "),
        ("hang:0", "'hang:0' is not hang[:COUNT], COUNT from 1 to 999999 "),
        ("hang:1000000", "'hang:1000000' is not hang[:COUNT], COUNT from 1 to 999999 "),
        ("hang:", "'hang:' is not hang[:COUNT], COUNT from 1 to 999999 "),
        ("hang:\u0661", "'hang:\u0661' is not hang[:COUNT], COUNT from 1 to 999999 "),
        ("refuse:0", "'refuse:0' is not refuse[:SECONDS], SECONDS from 1 to 999999 "),
        ("mqtt-restart:3", "'mqtt-restart:3' is not mqtt-restart "),
        ("mqtt-lost:-1", "'mqtt-lost:-1' is not mqtt-lost[:SECONDS], SECONDS from 1 to 999999 "),
    ],
)
def test_a_number_out_of_range_is_refused_with_the_range(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(text, capsys).startswith(f"run_local.py: argument --fault: {message}")


def test_an_unknown_fault_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal("fire", capsys)
    assert said.startswith("run_local.py: argument --fault: there is no fault 'fire'; there are status, redirect, hang")
    assert [name for name in (*CORE, *NUCLEUS) if name not in said] == []


def test_help_lists_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"], None)
    shown = capsys.readouterr().out
    assert [name for name, kind in {**CORE, **NUCLEUS}.items() if form(name, kind) not in shown] == []
    assert not set(CORE) & set(NUCLEUS)
