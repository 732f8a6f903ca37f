"""What is built from what: the core for every host, and the Functions host's own parts."""
