"""How a network becomes sparse: scores, layer-wise ratios, masks, and how masks move."""
