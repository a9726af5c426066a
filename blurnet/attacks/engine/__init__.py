"""What every search for a patch or a perturbation is made of: goals, losses, the ascent, its views."""
