"""Losses and penalties: functions of tensors."""
