"""The page of a backtest: one file that opens anywhere, offline, and shows what the figures rest on."""
