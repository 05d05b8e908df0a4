"""What can go wrong, in kinds a caller may want to tell apart."""


class ConnectorError(Exception):
    """The root of this project's errors."""


class TableError(ConnectorError):
    """A kernel table could not be read, or only in part, or has a shape this code does not know."""


class ConfigError(ConnectorError):
    """The connector can't start with these settings."""


class PublishError(ConnectorError):
    """The core did not take a report."""


class NoSubscriptionError(PublishError):
    """The core has nobody to hand the reports to: it stays so until somebody adds a subscription."""
