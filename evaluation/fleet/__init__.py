"""Node fleets measured: the paper's protocol beside an honest one, and siblings beside the node's own model."""
