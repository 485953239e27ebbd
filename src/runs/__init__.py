"""The run folder: what is in it, how it is written, and how what a stranger wrote is read."""
