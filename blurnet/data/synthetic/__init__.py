"""Rendered signs, which need no files."""
