"""Does the graph loss help? Arms, seeds, sizes and controls as resumable units, and the answer."""
