"""What Foundry's agents can call: ask, ask_data and diagnose_job."""
