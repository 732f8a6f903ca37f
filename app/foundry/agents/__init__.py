"""Agents in Azure AI Foundry that use the tools: checked, created, asked and deleted with `python -m app.foundry`."""
