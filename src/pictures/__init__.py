"""Samples, codes and pages to look at."""
