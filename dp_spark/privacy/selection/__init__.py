"""Private partition selection, which keys may be shown: one file for each strategy, which ``registry`` names."""
