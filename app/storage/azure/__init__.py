"""Azure tables, queues and blobs."""
