"""Backtests: the daemon's engine, or a detector with hindsight, on labelled recordings. Start at `run.backtest`."""
