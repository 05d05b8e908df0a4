"""The kinds of error that a caller may want to tell apart."""


class ConnectorError(Exception):
    """The root of the connector's errors.

    exit_code: int, what a command line tool ends with that can't go on after it.
    """

    exit_code = 1


class TableError(ConnectorError):
    """A kernel table could not be read, or only in part, or has an unknown format."""


class ConfigError(ConnectorError):
    """The connector can't start with these settings."""

    exit_code = 2


class PublishError(ConnectorError):
    """A message was not accepted. The text says what to do."""


class NoSubscriptionError(PublishError):
    """The core has no subscription that carries the message: nothing changes until somebody adds one."""
