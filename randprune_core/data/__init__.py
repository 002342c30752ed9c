"""Images as tensors, from files that were found, checked and identified."""
