"""The HTTP server under gunicorn: no client that is slow holds a thread that answers requests."""
