"""The servers that `python -m benchmarks.agent_server` compares, and who asks them."""
