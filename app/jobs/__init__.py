"""Watches Databricks jobs: why a run failed, what is done about it, and who is told."""
