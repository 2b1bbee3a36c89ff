"""The black-box acceptance run: over HTTP, any deployed facade is held against the contract in front of a sandbox."""
