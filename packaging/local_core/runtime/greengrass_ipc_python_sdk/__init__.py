"""A function's side of the wire to its core; `greengrasssdk` imports it; on no package index."""
