"""How names, numbers and figures look: words, colours, panels, plots."""
