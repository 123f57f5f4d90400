"""Run the benchmarks: ``python -m benchmarks [NAME …]``."""

import importlib
import sys

NAMES = ("throughput",)

for name in sys.argv[1:] or NAMES:
    importlib.import_module(f"benchmarks.{name}").main()
