"""Azure AI Foundry: the agent as a tool of Foundry's agents, over storage queues and MCP, and agents that use it."""
