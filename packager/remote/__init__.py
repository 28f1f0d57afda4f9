"""The road to boards: reach them by ssh, take a bundle there, run it, and bring its report back."""
