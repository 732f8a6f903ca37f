"""Who calls, and as whom Databricks is asked."""
