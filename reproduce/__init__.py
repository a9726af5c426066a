"""Published tables and figures, measured: one script each."""
