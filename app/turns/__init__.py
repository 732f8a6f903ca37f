"""A question is answered once, in order, whichever worker dies."""
