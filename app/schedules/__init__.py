"""Questions on a schedule: asked again into their chat when they are due, or when a number passes a limit."""
