"""Chat completions and Responses on the wire, in and out."""
