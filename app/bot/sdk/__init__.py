"""What botbuilder needs from us, with its faults cured."""
