"""Spark's exceptions, settings and memory, as the other packages see them."""
