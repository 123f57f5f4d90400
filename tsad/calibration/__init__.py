"""From raw scores to p-values, episode rates and alarms within a budget of false alarms a day."""
