"""Rows and text of released numbers."""
