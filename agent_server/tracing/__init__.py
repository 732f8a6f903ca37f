"""What is recorded of a request in MLflow."""
