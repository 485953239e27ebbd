"""Work outside the training step: budget, records, scores, pictures, health, checkpoints."""
