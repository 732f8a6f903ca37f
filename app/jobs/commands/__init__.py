"""What the sub-commands of `job-watch` do; each module is imported when its command is given."""
