"""The use cases, in order: prepare an issue, choose its audience, send it."""
