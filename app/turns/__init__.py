"""Durable execution of turns: enter, claim, lease, checkpoint, resume, order. Each activity is answered once."""
