"""Results of queries: typed, kept for a conversation, shown as a table and a chart, drawn again."""
