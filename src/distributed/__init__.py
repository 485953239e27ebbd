"""One model on several devices: ranks, their shared noise, and their processes."""
