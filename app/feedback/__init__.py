"""What people think of answers: kept here, and told to the trace of the answer in MLflow and to Genie."""
