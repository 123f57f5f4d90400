"""Run the benchmarks: ``python -m benchmarks [NAME …]``."""

import importlib
import sys

NAMES = ("throughput", "metrics")

named = [argument for argument in sys.argv[1:] if argument in NAMES]
for name in named or NAMES:
    importlib.import_module(f"benchmarks.{name}").main()
