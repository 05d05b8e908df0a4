"""The errors that end a run, each with its exit code and a text for the person who must act."""

from __future__ import annotations


class DeployError(Exception):
    """The account or a core does not allow the deployment, or it failed.

    exit_code: the tool's exit code
    """

    exit_code = 1


class UsageError(DeployError):
    """A flag, a value or a file that the caller gave is wrong."""

    exit_code = 2
