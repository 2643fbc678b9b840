"""How our files are read: YAML 1.2, overrides, variables, moments, and messages that say how to mend."""
