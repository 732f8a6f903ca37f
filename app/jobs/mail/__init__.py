"""Mail about incidents: what it says, and how it is sent."""
