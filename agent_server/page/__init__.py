"""What the page asks beside the Responses API: conversations, feedback, files, incidents."""
