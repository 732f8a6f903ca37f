"""A pass of the job watch: looks, decides, acts, follows up, and tells."""
