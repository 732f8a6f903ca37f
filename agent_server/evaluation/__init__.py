"""The agent as a logged MLflow model, and its evaluation."""
