"""Ways to draw a reasoning graph; every one returns the same `StepGraph`."""
