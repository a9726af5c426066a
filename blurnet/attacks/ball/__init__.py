"""Attacks on the whole image, inside a ball."""
