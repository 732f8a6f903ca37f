"""Azure Functions as tools of the agent: asked through one storage queue, answering through another."""
