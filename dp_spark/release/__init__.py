"""One release from file to published table; ``run`` is the one ordering."""
