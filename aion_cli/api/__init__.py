"""What workflow authors write: awaits become Commands."""
