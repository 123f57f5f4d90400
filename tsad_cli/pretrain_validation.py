"""The real series by which checkpoints of foundation models are chosen, and by nothing else."""

from collections.abc import Sequence

import numpy as np

from evaluation.backtest.measures import ranking_scores
from evaluation.datasets.registry import load_dataset
from evaluation.datasets.schema import LabelledSeries
from evaluation.metrics.vus import vus
from tsad.foundation.nano import NanoNetwork
from tsad.foundation.runtime import torch_nano
from tsad.foundation.scoring import label_recording

__all__ = ["VALIDATION_SERIES", "load_validation", "validate"]

VALIDATION_SERIES = (
    "artificialWithAnomaly/art_daily_jumpsdown",
    "artificialWithAnomaly/art_daily_nojump",
    "artificialWithAnomaly/art_load_balancer_spikes",
    "realAWSCloudwatch/ec2_cpu_utilization_53ea38",
    "realAWSCloudwatch/ec2_cpu_utilization_77c1ca",
    "realAWSCloudwatch/ec2_cpu_utilization_ac20cd",
    "realAWSCloudwatch/ec2_cpu_utilization_fe7f93",
    "realAWSCloudwatch/ec2_disk_write_bytes_c0d644",
    "realAWSCloudwatch/ec2_network_in_5abac7",
    "realAWSCloudwatch/grok_asg_anomaly",
    "realAWSCloudwatch/rds_cpu_utilization_cc0c53",
    "realKnownCause/ambient_temperature_system_failure",
    "realKnownCause/ec2_request_latency_system_failure",
    "realKnownCause/nyc_taxi",
    "realKnownCause/rogue_agent_key_updown",
    "realTraffic/TravelTime_451",
    "realTraffic/occupancy_t4013",
    "realTraffic/speed_7578",
)
"""Every second series of the copy of NAB, by name from the first on, that has a label; no report uses one."""

_VUS_LENGTH = 100


def load_validation() -> list[LabelledSeries]:
    """Read the validation split.

    Raises
    ------
    DatasetError
        NAB, or a series of it, is not there.
    """
    wanted = set(VALIDATION_SERIES)
    return [series for series in load_dataset("nab") if series.name in wanted]


def validate(network: NanoNetwork, series: Sequence[LabelledSeries], *, scales: Sequence[int], stride: int) -> float:
    """Mean VUS-PR of zero-shot scores of the test parts, mode full, soft labels up to 100 rows.

    Parameters
    ----------
    network
        What is judged.
    series
        Of `load_validation`.
    scales, stride
        As the detector takes them.
    """
    runner = torch_nano(network)
    found = []
    for one in series:
        logits = label_recording(runner, one.test_values, window=network.config.window, scales=scales, stride=stride)
        scores = ranking_scores(logits.max(axis=1))
        found.append(vus(one.test_labels, scores, window=_VUS_LENGTH).pr)
    return float(np.mean(found))
