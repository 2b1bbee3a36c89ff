"""What the routes are, for machines (OpenAPI 3.1) and for people (Swagger UI)."""
