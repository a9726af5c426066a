"""Can a robustness figure be trusted? Checks for masked gradients."""
