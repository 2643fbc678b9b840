"""How charges add up and what an account can bear: one file for each accountant, which ``registry`` names."""
