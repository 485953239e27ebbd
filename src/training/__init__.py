"""One training from its configuration to its summary, and what is read back of it."""
