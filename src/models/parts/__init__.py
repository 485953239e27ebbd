"""What several procedures use: latents, conditions, auxiliary heads, averages, schedules."""
