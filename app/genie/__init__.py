"""Genie spaces as tools of the agent: questions about data in plain words."""
