"""What will be drawn, charged and told, before any private value is read."""
