"""Security profiles against recorded reports: what Detect would have said, before it says it to anyone."""
