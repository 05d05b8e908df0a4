"""The errors of the package. Each is for the person at the terminal."""


class DetectionError(Exception):
    """The root. The text is one line for each fault."""

    exit_code = 1


class InputError(DetectionError):
    """A profile or a recording can't be used; the text names the file, the line and the fault."""

    exit_code = 2


class BrokerError(DetectionError):
    """The MQTT broker can't be reached, or refuses."""
