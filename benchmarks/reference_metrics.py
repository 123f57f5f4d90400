"""One metric of a reference package, timed: run by `benchmarks.metrics` with the Python of another environment.

``python reference_metrics.py CASE ARRAYS.npz`` prints ``{"seconds", "value", "peak_mb"}``. It imports nothing of this
project.
"""

import json
import logging
import sys
import time
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

logging.disable(logging.INFO)


def _pate(y: Any, s: Any) -> Callable[[], float]:
    from pate.PATE_metric import PATE

    # Its default: 250 thresholds.
    return lambda: PATE(y, s, e_buffer=100, d_buffer=100, n_jobs=1)


def _vus_pr(y: Any, s: Any) -> Callable[[], float]:
    from vus.metrics import generate_curve

    return lambda: generate_curve(y, s, 100, "opt", 250)[-1]


def _vus_pr_tsb(y: Any, s: Any) -> Callable[[], float]:
    from TSB_AD.evaluation.basic_metrics import generate_curve

    return lambda: generate_curve(y, s, 100, version="opt", thre=250)[-1]


def _affiliation_f1(y: Any, s: Any) -> Callable[[], float]:
    from TSB_AD.evaluation.basic_metrics import basic_metricor

    return lambda: basic_metricor().metric_Affiliation(y, s, preds=(s >= 1.5).astype(int))


def _oracle_best_affiliation_f1(y: Any, s: Any) -> Callable[[], float]:
    from TSB_AD.evaluation.basic_metrics import basic_metricor

    return lambda: basic_metricor().metric_Affiliation(y, s)


def _oracle_best_point_adjusted_f1(y: Any, s: Any) -> Callable[[], float]:
    from TSB_AD.evaluation.basic_metrics import basic_metricor

    return lambda: basic_metricor().metric_PointF1PA(y, s)


def _oracle_best_range_based_f1(y: Any, s: Any) -> Callable[[], float]:
    from TSB_AD.evaluation.basic_metrics import basic_metricor

    return lambda: basic_metricor().metric_RF1(y, s)


def _pa_k_area(y: Any, s: Any) -> Callable[[], float]:
    from tadpak import pak

    def area() -> float:
        f1 = []
        for k in range(101):
            adjusted = pak.pak(s, y, 1.5, k=k)
            hit = int(np.sum(adjusted & (y == 1)))
            f1.append(2 * hit / (int(adjusted.sum()) + int(y.sum())))
        return float(np.mean([0.5 * (a + b) for a, b in pairwise(f1)]))

    return area


def _range_based_f1(y: Any, s: Any) -> Callable[[], float]:
    from prts import ts_precision, ts_recall

    def f1() -> float:
        b = (s >= 1.5).astype(int)
        recall = ts_recall(y, b, alpha=0.2, cardinality="reciprocal", bias="flat")
        precision = ts_precision(y, b, alpha=0.0, cardinality="reciprocal", bias="flat")
        return float(2 * precision * recall / (precision + recall))

    return f1


def _average_precision(y: Any, s: Any) -> Callable[[], float]:
    from sklearn.metrics import average_precision_score

    return lambda: average_precision_score(y, s)


CASES = {
    "pate": _pate,
    "vus_pr": _vus_pr,
    "vus_pr of tsb-ad": _vus_pr_tsb,
    "affiliation_f1": _affiliation_f1,
    "oracle_best_affiliation_f1": _oracle_best_affiliation_f1,
    "oracle_best_point_adjusted_f1": _oracle_best_point_adjusted_f1,
    "oracle_best_range_based_f1": _oracle_best_range_based_f1,
    "pa_k_area": _pa_k_area,
    "range_based_f1": _range_based_f1,
    "average_precision": _average_precision,
}


def main() -> None:
    """Time one case; its memory is traced in a second call, because tracing slows, and only where that is quick."""
    case, path = sys.argv[1:]
    with np.load(path) as arrays:
        run = CASES[case](arrays["labels"], arrays["scores"])
    began = time.perf_counter()
    value = float(run())
    seconds = time.perf_counter() - began
    peak = None
    if seconds < 10:
        tracemalloc.start()
        run()
        peak = tracemalloc.get_traced_memory()[1] / 2**20
    print(json.dumps({"seconds": seconds, "value": value, "peak_mb": peak}))


if __name__ == "__main__":
    main()
