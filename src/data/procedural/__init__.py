"""Data sets that are drawn, not read: built-in stand-ins that need no file and no network."""
