"""Which runs a figure needs, and who trains them."""
