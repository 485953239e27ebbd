"""Transforms of samples on their way into a network."""
