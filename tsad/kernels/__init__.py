"""Compiled loops over rows. Each has a plain twin in the tests; callers hold the documentation."""
