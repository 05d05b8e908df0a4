"""The parts of a function's ARN, `arn:aws:lambda:<region>:<account>:function:<name>[:<qualifier>]`."""

import re


class FunctionArnFields:
    """The fields of a function ARN; region and account of the core's own functions are empty.

    Raises ValueError for text that is not a function ARN.
    """

    def __init__(self, arn: str) -> None:
        match = re.fullmatch(r"(arn:[^:]+:lambda:([^:]*):([^:]*):function:([^:]+))(?::([^:]+))?", arn)
        if not match:
            raise ValueError(f"'{arn}' is not a function ARN (arn:aws:lambda:region:account:function:name:qualifier).")
        self.unqualified_arn, self.region, self.account_id, self.name, self.qualifier = match.groups(default="")

    @staticmethod
    def build_function_arn(unqualified_arn: str, qualifier: str) -> str:
        """Return the ARN with its qualifier, if there is one."""
        return f"{unqualified_arn}:{qualifier}" if qualifier else unqualified_arn
