"""Failed runs of jobs, and the evidence of why they failed."""
