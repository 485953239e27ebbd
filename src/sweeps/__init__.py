"""Many runs by one command: what they are, where they take place, and their table."""
