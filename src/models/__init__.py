"""Training procedures, one file each; what several of them use is in `parts`."""
