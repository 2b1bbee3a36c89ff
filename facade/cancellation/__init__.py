"""The use case: read, send at most once, accept only the source's own evidence, respond in time."""
