"""Our own Delta tables: where they are, what they carry, and how they are written."""
