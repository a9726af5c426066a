"""Attacks on a part of each image, image by image."""
