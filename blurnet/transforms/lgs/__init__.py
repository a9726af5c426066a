"""Local gradients smoothing."""
