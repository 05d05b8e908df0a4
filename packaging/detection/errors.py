"""The one error of the package."""


class InputError(Exception):
    """A profile or a recording that can't be used; the text names the file, the line and the fault, one per line."""
