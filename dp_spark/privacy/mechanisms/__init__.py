"""Noise for integer queries: one file for each mechanism, which ``registry`` names."""
