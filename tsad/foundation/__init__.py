"""Foundation models: networks that judge series which they never saw, their synthetic corpus and their training."""
