"""The comparison of all ways to draw a reasoning graph: on gold, on interventions, on cost."""
