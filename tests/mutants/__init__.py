"""Mutation testing with a list of our own: each mutant lacks one guard, and names the tests that must notice."""
