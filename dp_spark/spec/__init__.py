"""The release file: its keys, its expressions, its rules."""
