"""The use case: read, send at most once, believe only the source's own evidence, answer in time."""
