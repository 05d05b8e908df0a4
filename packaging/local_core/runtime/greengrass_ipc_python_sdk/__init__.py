"""The function's side of the wire protocol; `greengrasssdk` imports it; it is not on PyPI."""
