"""Every setting, by section, with the section's own checks."""
