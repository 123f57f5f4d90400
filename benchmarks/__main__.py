"""Run the benchmarks: ``python -m benchmarks [NAME …]``; without a name those that need no data set."""

import importlib
import sys

WITHOUT_DATA = (
    "throughput",
    "metrics",
    "light_tier",
    "patchbank",
    "simulated_plant",
    "node_fleet",
    "access_events",
    "foundation",
    "foundation_learning",
    "foundation_live",
    "themis",
    "explorer",
    "latency",
    "deliveries",
    "part_fusion",
)
WITH_DATA = (
    "false_alarms",
    "tsb_ad_protocol",
    "ape",
    "cold_start",
    "channel_evidence",
    "foundation_cold_start",
    "foundation_members",
    "patchbank_forms",
    "foundation_ablation",
    "sensor_faults",
    "operator_loop",
)

named = [argument for argument in sys.argv[1:] if argument in (*WITHOUT_DATA, *WITH_DATA)]
for name in named or WITHOUT_DATA:
    importlib.import_module(f"benchmarks.{name}").main()
