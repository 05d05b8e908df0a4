"""What the fuzzer starts from and what it found, replayed without it: no target fails on any of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.targets import TARGETS

FUZZ = Path(__file__).resolve().parents[1] / "fuzz"
INPUTS = sorted(path for path in FUZZ.glob("corpus/*/*") if path.is_file())


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {path.parent.name for path in INPUTS} == set(TARGETS)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_input(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())
