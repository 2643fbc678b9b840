"""The only rooms that private rows pass: sources, steps, bounding, exact aggregation."""
