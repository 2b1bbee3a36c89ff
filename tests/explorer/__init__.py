"""Explores every interleaving of the real use case over a ledger in memory, up to a bound.

``python -m tests.explorer --help`` explores as far as one likes; ``tests/unit/test_explorer.py`` explores some.
"""
