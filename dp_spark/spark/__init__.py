"""Spark as the other packages see it: its exceptions, settings, loggers, functions and memory, and its Java."""
