"""A gunicorn worker in which a slow client never occupies a thread of the application."""
