"""An image as what an untrained net draws of it (Ulyanov et al. 2018)."""
