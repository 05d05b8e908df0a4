"""A progress bar for what takes long."""

from __future__ import annotations

WAIT_SECONDS = 2.0  # what is done sooner shows nothing


class Progress:
    """Shows on a terminal how far a step is, after WAIT_SECONDS; shows nothing where stderr is not a terminal.

    what: the step, such as "reading"
    total: how much there is to do, in units
    unit: the name of one; bytes ("B") are shown in kB, MB and GB
    """

    def __init__(self, what: str, total: int, unit: str = "B") -> None:
        from tqdm import tqdm  # late, as everything that takes long: other processes read in the meantime

        self._bar = tqdm(
            desc=what, total=total, unit=unit, unit_scale=unit == "B", leave=False, delay=WAIT_SECONDS, disable=None
        )

    def advance(self, done: int) -> None:
        """Add what was done since the last call, in units."""
        self._bar.update(done)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
