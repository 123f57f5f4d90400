"""APE beside its baselines: synthetic roles, network connections, laid-in logons, and events a second.

``python -m benchmarks.ape [--seeds N] [--first-seed N] [--only synthetic|lanl|nsl-kdd|kdd99|speed] [--detectors …]``.
The synthetic set is that of the project's specification: users with latent roles, 200,000 training events, anomalies
with one to three values exchanged.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from evaluation.backtest.event_tables import event_tables
from evaluation.backtest.events import backtest_events, load_event_sets, plan_event_cells, recall_at
from evaluation.metrics.registry import evaluate
from tsad.events.batch import FIRST_VALUE, EventBatch
from tsad.events.registry import create_event_detector

ROLES = 8
SIZES = {"user": 1000, "source": 300, "target": 300, "host": 400, "folder": 500, "target_folder": 500, "hour": 24}
EVENTS_A_DAY = 10_000
ODD_SHARE = 0.01
VARIANTS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "marginal": ("marginal", {}),
    "pairwise-conditional": ("pairwise-conditional", {}),
    "isolation-forest": ("isolation-forest", {}),
    "ape form 1": ("ape", {"form": 1}),
    "ape form 2": ("ape", {"form": 2}),
    "ape form 3": ("ape", {}),
    "ape form 2, no weights": ("ape", {"form": 2, "pair_weights": "none"}),
    "ape form 3, no weights": ("ape", {"pair_weights": "none"}),
}


def roles(seed: int, train: int, test: int) -> tuple[EventBatch, EventBatch]:
    """Events of users with roles: each role prefers values by a Dirichlet draw around a Zipf law."""
    rng = np.random.default_rng(seed)
    n = train + test
    popularity = 1.0 / np.arange(1, SIZES["user"] + 1)
    user = rng.choice(SIZES["user"], size=n, p=popularity / popularity.sum())
    role = rng.integers(ROLES, size=SIZES["user"])[user]
    columns = [user]
    for name, size in list(SIZES.items())[1:]:
        base = np.full(size, 0.5) if name == "hour" else 0.02 * size / np.arange(1, size + 1) / _harmonic(size)
        cumulative = np.cumsum(rng.dirichlet(base, size=ROLES), axis=1)
        column = np.empty(n, np.int64)
        for r in range(ROLES):
            where = np.flatnonzero(role == r)
            column[where] = np.minimum(np.searchsorted(cumulative[r], rng.random(len(where))), size - 1)
        columns.append(column)
    codes = (np.column_stack(columns) + FIRST_VALUE).astype(np.int32)
    return EventBatch(tuple(SIZES), codes[:train]), EventBatch(tuple(SIZES), codes[train:])


def _harmonic(n: int) -> float:
    return float(np.sum(1.0 / np.arange(1, n + 1)))


def with_odd(train: EventBatch, test: EventBatch, values: int, seed: int) -> tuple[EventBatch, NDArray[np.uint8]]:
    """The test events with a share of them made odd: some values exchanged for those of other training events."""
    rng = np.random.default_rng((seed, values))
    codes, labels = test.codes.copy(), np.zeros(len(test), np.uint8)
    odd = rng.choice(len(test), int(ODD_SHARE * len(test)), replace=False)
    labels[odd] = 1
    for row in odd:
        for place in rng.choice(codes.shape[1], values, replace=False):
            before = codes[row, place]
            while codes[row, place] == before:
                codes[row, place] = train.codes[rng.integers(len(train)), place]
    return EventBatch(test.attributes, codes), labels


def recall_by_day(labels: NDArray[np.uint8], scores: NDArray[np.float64]) -> float:
    """Mean over days of the recall among the 100 highest scores of the day."""
    days = range(0, len(labels), EVENTS_A_DAY)
    return float(np.mean([recall_at(labels[d : d + EVENTS_A_DAY], scores[d : d + EVENTS_A_DAY], 100) for d in days]))


def synthetic(seeds: range, train: int, test: int) -> Iterator[Table]:
    """AUC, AP and recall in the top 100 a day, mean and deviation over the seeds so far: a table after every seed."""
    found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    seconds: dict[str, list[float]] = {}
    for seed in seeds:
        training, testing = roles(seed, train, test)
        parts = {values: with_odd(training, testing, values, seed) for values in (1, 2, 3)}
        for label, (name, options) in VARIANTS.items():
            seeded = {"seed": seed} if name in {"ape", "isolation-forest"} else {}
            detector = create_event_detector(name, options | seeded)
            began = time.perf_counter()
            detector.fit(training)
            seconds.setdefault(label, []).append(time.perf_counter() - began)
            for values, (events, labels) in parts.items():
                scores = detector.score(events).score
                ranked = evaluate(labels, scores, metrics=["auc_roc", "average_precision"])
                row = (ranked["auc_roc"], ranked["average_precision"], recall_by_day(labels, scores))
                found.setdefault((label, values), []).append(row)
        yield _synthetic_table(found, seconds, f"{train:,} training events, {ODD_SHARE:.0%} of {test:,} odd")


def _synthetic_table(
    found: Mapping[tuple[str, int], list[tuple[float, float, float]]], seconds: Mapping[str, list[float]], what: str
) -> Table:
    table = Table(title=f"Synthetic roles: {what}, {len(next(iter(found.values())))} seeds")
    for title in ("detector", "c", "AUC", "AP", "recall in the top 100 a day", "training seconds"):
        table.add_column(title)
    for (label, values), rows in sorted(found.items(), key=lambda item: (item[0][1], list(VARIANTS).index(item[0][0]))):
        figures = np.array(rows)
        spread = figures.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(3)
        cells = [f"{mean:.3f} ± {deviation:.3f}" for mean, deviation in zip(figures.mean(axis=0), spread, strict=True)]
        table.add_row(label, str(values), *cells, f"{np.mean(seconds[label]):.1f}")
    return table


def datasets(name: str, seeds: int, detectors: str, options: Mapping[str, Mapping[str, Any]]) -> Iterator[Table]:
    """The tables of `tsad backtest` for one event set."""
    cells = plan_event_cells([detectors], seeds=seeds, options=options)
    yield from event_tables(backtest_events(load_event_sets([name]), cells).cells)


def speed(count: int = 1_000_000) -> Iterator[Table]:
    """Events scored a second on one thread, best of five, beside a gather of the same vectors by NumPy."""
    training, testing = roles(0, 50_000, 50_000)
    many = testing.rows(np.arange(count) % len(testing))
    table = Table("what", "events/s", "ratio to the gather", title=f"Scoring {count:,} events of 7 attributes, d = 32")
    vectors = np.zeros((int(max(SIZES.values())) + FIRST_VALUE, 32), np.float32)

    def gather() -> float:
        return float(vectors[many.codes].sum())

    base = count / _best(gather)
    table.add_row("NumPy: gather the vectors and sum", f"{base:,.0f}", "1.00")
    for name in ("ape", "rarity", "marginal", "pairwise-conditional", "isolation-forest"):
        detector = create_event_detector(name, {"epochs": 1} if name == "ape" else {})
        detector.fit(training)
        events = many if name != "isolation-forest" else many.rows(slice(0, count // 10))
        rate = len(events) / _best(lambda d=detector, e=events: d.score(e))
        table.add_row(name, f"{rate:,.0f}", f"{rate / base:.2f}")
    yield table


def _best(call: Any, repeats: int = 5) -> float:
    call()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0, help="of the synthetic set")
    parser.add_argument("--only", choices=("synthetic", "lanl", "nsl-kdd", "kdd99", "speed"))
    parser.add_argument("--train", type=int, default=200_000)
    parser.add_argument("--test", type=int, default=50_000)
    parser.add_argument("--detectors", default="ape,marginal,pairwise-conditional,isolation-forest")
    arguments, _ = parser.parse_known_args()
    runs = {
        "synthetic": lambda: synthetic(
            range(arguments.first_seed, arguments.first_seed + arguments.seeds), arguments.train, arguments.test
        ),
        "lanl": lambda: datasets("lanl-auth", arguments.seeds, arguments.detectors, {}),
        "nsl-kdd": lambda: datasets("nsl-kdd", arguments.seeds, arguments.detectors, {}),
        "kdd99": lambda: datasets("kdd99", 1, arguments.detectors, {}),
        "speed": speed,
    }
    console = Console(width=180)
    for name, run in runs.items():
        if arguments.only in {None, name}:
            for table in run():
                console.print(table)


if __name__ == "__main__":
    main()
