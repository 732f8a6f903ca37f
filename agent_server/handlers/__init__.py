"""What answers a request: the functions that people write with invoke() and stream()."""
