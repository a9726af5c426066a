"""Evaluation: attacks on trained models, exact under any number of processes, and their report."""
