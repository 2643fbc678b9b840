"""Releases over Delta Sharing."""
