"""Whether what the agent uses lets it in, and which grant is missing where it does not."""
