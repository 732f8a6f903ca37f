"""Other serving endpoints that the agent may ask: models and agents with a task of their own."""
