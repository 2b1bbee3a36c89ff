"""The seam between the facade and its source plugins: contract, discovery, validation, configured sources."""
