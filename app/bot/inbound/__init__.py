"""From the bytes of an activity to a question, and the HTTP answer."""
