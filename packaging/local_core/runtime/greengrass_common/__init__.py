"""A package of a core's runtime that `greengrasssdk` imports; it is not on PyPI."""
