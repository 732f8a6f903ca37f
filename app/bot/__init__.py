"""All code that imports botbuilder: activities in, replies and proactive messages out."""
