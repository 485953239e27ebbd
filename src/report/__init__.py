"""Reports over many finished runs: what `python -m src.compare` reads, compares and writes."""
