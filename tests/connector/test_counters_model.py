"""The account of a model kernel whose interfaces are renamed, replaced, moved, reset, and at times wrong.

Whatever happens, no more is reported than passed; where no fault leaves a doubt, all of it is. The soak plays 10,000
sequences of each kind (support/kernel_model.py).
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kernel_model import run


@settings(max_examples=150)
@pytest.mark.parametrize("certain", [False, True])
@given(rng=st.randoms(use_true_random=False))
def test_account_of_a_model_kernel_is_never_more_than_what_passed(certain: bool, rng: random.Random) -> None:
    with tempfile.TemporaryDirectory() as directory:
        run(rng, Path(directory), certain)
