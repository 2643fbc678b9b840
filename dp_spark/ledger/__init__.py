"""The only truth about budget, and the outbox that vouches for it."""
