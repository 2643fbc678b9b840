"""The only rooms that private rows pass."""
