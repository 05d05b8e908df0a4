"""The connector's errors: one root, and a class for each kind that a caller handles differently."""


class ConnectorError(Exception):
    """The root of the connector's errors.

    exit_code: int, the exit code of a command line that this error ends.
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
    """The core has no subscription, or no permission, that lets the message through, until a person adds one."""
