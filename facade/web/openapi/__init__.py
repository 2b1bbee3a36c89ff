"""The OpenAPI 3.1 description of the HTTP operations, made from their declarations."""
