"""Files that people attach: downloaded, kept with the conversation, and asked in SQL in a process of their own."""
