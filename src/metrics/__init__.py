"""Numbers that say how good samples are, each with its protocol."""
