"""Data sets and LightningDataModules: images RGB in [0, 1], nothing normalised."""
