"""JPEG compression and its differentiable model."""
