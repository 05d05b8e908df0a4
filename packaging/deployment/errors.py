"""The errors that end a run, each with its exit code and a text for the person who must act."""

from __future__ import annotations


class DeployError(Exception):
    """Something in the account, or on the way to it, stands against the deployment."""

    exit_code = 1


class UsageError(DeployError):
    """A flag, a value or a file that the caller gave is wrong."""

    exit_code = 2
