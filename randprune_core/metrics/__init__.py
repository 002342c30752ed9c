"""Numbers that say how good a network is, and what it costs."""
