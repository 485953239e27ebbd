"""Parts of several procedures: adversary, latents, conditions, averages, schedules, stages."""
