"""What runs say: intervals, cell means and their contrasts, what decides a claim, verdicts."""
