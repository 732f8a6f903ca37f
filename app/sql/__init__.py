"""SQL that the model writes: checked to only read, run on a SQL warehouse, shown as a table and a chart."""
