"""How well failed jobs are diagnosed: recorded failures, and what was decided about them."""
