"""Who may come through the HTTP door, and what they may do there."""
