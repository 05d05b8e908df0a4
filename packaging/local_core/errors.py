"""What the local core says when it can't go on: for the person who runs it."""


class LocalCoreError(Exception):
    """The artifact, the interpreter or a setting is not fit to run; says which, and what to do."""


class FunctionError(LocalCoreError):
    """The function did not do what was waited for; `reason` is the message without the function's log."""

    def __init__(self, reason: str, log: str) -> None:
        super().__init__(f"{reason}; its log:\n{log}")
        self.reason = reason
