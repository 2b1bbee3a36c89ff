"""The checks of the acceptance run, one module per theme."""
