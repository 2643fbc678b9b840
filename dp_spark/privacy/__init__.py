"""What is proved: events, the lattice, sensitivities, mechanisms, partition selection and accounts."""
