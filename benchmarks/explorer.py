"""How long a view of the series explorer takes over ten million stored rows: ``python -m benchmarks explorer``.

The yardstick of the same run is handing every row of the view to Python: what a curve costs that is not downsampled.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from connectors.history.curves import find_place, score_curve, span, value_curve
from connectors.history.database import History

_ROWS = 10_000_000
_SERIES = 2
_POINTS = 1_500
_REPEATS = 5
_START = 1_750_000_000


def main() -> None:
    """Build the history and print the table."""
    with tempfile.TemporaryDirectory() as folder, History(Path(folder) / "history.duckdb") as history:
        _fill(history)
        with history.cursor() as cursor:
            place = find_place(cursor, "plant", "pump-1", "c2")
            assert place is not None
            found = span(cursor, place)
            assert found is not None
            first, last = found
            print("| rows in view | one-minute rollups | value curve, ms | p-values, ms | all rows, ms | ratio |")
            print("|---:|---|---:|---:|---:|---:|")
            for rollups in (True, False):
                if not rollups:
                    with history.write_lock:
                        history.cursor().execute("DELETE FROM rollups")
                for share in (1.0, 0.1, 0.01, 0.001):
                    width = int((last - first) * share)
                    start = first + (last - first - width) // 2
                    curve = _median(lambda s=start, w=width: value_curve(cursor, place, s, s + w, _POINTS))
                    scores = _median(lambda s=start, w=width: score_curve(cursor, place, s, s + w, _POINTS))
                    rows = _median(
                        lambda s=start, w=width: cursor.execute(
                            'SELECT epoch_ns(time), "values"[3] FROM samples WHERE series = 1 AND stream_id = 1 '
                            "AND time >= make_timestamp_ns(?) AND time < make_timestamp_ns(?)",
                            [s, s + w],
                        ).fetchnumpy()
                    )
                    print(
                        f"| {int(share * _ROWS / _SERIES):,} | {'yes' if rollups else 'no'} | {1e3 * curve:.1f} | "
                        f"{1e3 * scores:.1f} | {1e3 * rows:.1f} | {rows / curve:.1f} |"
                    )


def _median(run: Callable[[], object]) -> float:
    taken = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken))


def _fill(history: History) -> None:
    with history.write_lock:
        cursor = history.cursor()
        cursor.execute("SET threads = 2")
        cursor.execute("INSERT INTO streams VALUES (1, 'plant', ['robust'])")
        for series in range(_SERIES):
            cursor.execute("INSERT INTO series VALUES (1, ?, ?, ['c0', 'c1', 'c2', 'c3'])", [series, f"pump-{series}"])
        cursor.execute(
            "INSERT INTO samples SELECT 1, i % $2, make_timestamp_ns(($3 + i // $2) * 1000000000), "
            "[random()::FLOAT, random()::FLOAT, random()::FLOAT, random()::FLOAT], 0, [random()], random(), random(), "
            "0.001, false, 0, 0, i FROM range($1) t(i)",
            [_ROWS, _SERIES, _START],
        )
        cursor.execute(
            "INSERT INTO rollups SELECT stream_id, series, c, date_trunc('minute', \"time\"), count(*), "
            'min("values"[c + 1]), max("values"[c + 1]), avg("values"[c + 1]), min(p_value) '
            "FROM samples, range(4) t(c) GROUP BY ALL"
        )
        cursor.execute("CHECKPOINT")


if __name__ == "__main__":
    main()
