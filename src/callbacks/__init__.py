"""What happens beside training: budget, records, scores, pictures, health, checkpoints."""
