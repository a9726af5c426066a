"""Examples that tests run."""
