"""Retries, Retry-After and the circuit breaker."""
