"""What an evaluation found, as typed values: made, written, read, moved to cards."""
