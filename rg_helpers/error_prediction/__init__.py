"""Predicting which solutions are wrong, with the baselines and controls that keep it honest."""
