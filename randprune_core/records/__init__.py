"""One JSON file a run: written once, checked on reading, shown as a table."""
