"""The errors of the local core; their texts are for the person who runs it."""


class LocalCoreError(Exception):
    """The artifact, the interpreter or a setting is wrong; the text says which, and what to do."""

    exit_code = 1


class FunctionError(LocalCoreError):
    """The function did not do what the caller waited for.

    reason: the message without the function's log
    """

    def __init__(self, reason: str, log: str) -> None:
        super().__init__(f"{reason}; its log:\n{log}")
        self.reason = reason
