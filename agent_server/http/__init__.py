"""All code that knows FastAPI."""
