"""One model on several devices: ranks, the noise that they share, and the processes that they are."""
