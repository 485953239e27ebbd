"""Speed and quality, each reproducible by one command."""
