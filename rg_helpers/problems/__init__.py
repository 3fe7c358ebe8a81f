"""Problem families that carry their own gold reasoning graph, and the checker of written steps."""
