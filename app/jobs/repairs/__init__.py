"""Repairs of failed runs: begun once, whoever asks and however often."""
