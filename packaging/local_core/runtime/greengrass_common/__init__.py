"""What `greengrasssdk` imports from a core's runtime under this name; on no package index."""
