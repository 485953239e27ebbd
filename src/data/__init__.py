"""Data sets. Nothing is imported here, so that `src.data.sources` stays free of torch."""
