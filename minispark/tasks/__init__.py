"""What one task of a stage is, whichever engine runs it."""
