"""The HTTP formats of chat completions and Responses: requests, streams, errors."""
