"""How our files are read: YAML 1.2, overrides, variables, and messages that say how to mend."""
