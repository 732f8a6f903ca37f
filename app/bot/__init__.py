"""The Bot Framework's edge, and the only code that imports it: activities in, replies out."""
