"""Pure: events and blocks to activities, Markdown and Adaptive Cards."""
