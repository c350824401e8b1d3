"""Runs jobs: the only package that knows all stages."""
