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
    "foundation_start",
    "themis",
    "explorer",
    "latency",
    "deliveries",
    "part_fusion",
    "smallest_fault",
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

if sys.argv[1:] and not sys.argv[1].startswith("-") and sys.argv[1] not in (*WITHOUT_DATA, *WITH_DATA):
    sys.exit(f"there is no benchmark {sys.argv[1]!r}; there are {', '.join(sorted((*WITHOUT_DATA, *WITH_DATA)))}")
named = [argument for argument in sys.argv[1:] if argument in (*WITHOUT_DATA, *WITH_DATA)]
for name in named or WITHOUT_DATA:
    importlib.import_module(f"benchmarks.{name}").main()
