"""Random histories of one appointment each, against a simulated source with a log of its own.

``python -m tests.histories --help`` runs any number by hand; ``tests/process/test_histories.py`` runs some.
"""
