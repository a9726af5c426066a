"""Attacks on the whole image: inside a ball, or by as little as fools."""
