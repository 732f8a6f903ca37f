"""What the agent is: its loop, events, history and commands. Knows no channel and no Azure."""
