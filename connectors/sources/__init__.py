"""Where records come from. Every source hands over batches of bytes with their positions."""
