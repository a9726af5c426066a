"""Time against peers and against the bare minimum: ``make bench``."""
