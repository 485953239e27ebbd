"""Configurations: how they are composed, what may be set, and which run they are."""
