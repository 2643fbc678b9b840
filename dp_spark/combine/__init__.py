"""Several organisations' releases to one table."""
