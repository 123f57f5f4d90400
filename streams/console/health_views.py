"""What the health page shows, read from the running service and its history: plain values, no widgets."""

from typing import Any

from streams.console.views import clock
from streams.service import Service

__all__ = ["counts", "newest_dead_letters", "series_health", "service_figures"]

_MOST_ROWS = 10_000


def service_figures(service: Service, records_per_second: float | None) -> list[tuple[str, str]]:
    """Figures of the service in words; the rate is unknown until the page has seen two moments."""
    health = service.source.health
    pending = service.outbox.pending()
    with service.history.cursor() as cursor:
        row = cursor.execute("SELECT count(*) FROM endpoints WHERE disabled_at IS NOT NULL").fetchone()
    return [
        ("ready", "yes" if not service.problems() else "; ".join(service.problems())),
        ("source", health.detail if health.connected else f"NOT CONNECTED: {health.detail}"),
        ("waiting in the source", "cannot be told" if health.lag is None else f"{health.lag:,} records"),
        ("throughput", "measuring" if records_per_second is None else f"{records_per_second:,.0f} records/s"),
        ("transactions", f"{service.pipeline.statistics.commits:,}"),
        ("history", f"{service.history.used_bytes() / 1e6:,.1f} MB in {service.history.path.name}"),
        ("webhooks waiting", ", ".join(f"{name}: {n}" for name, n in pending.items() if n) or "none"),
        ("endpoints switched off", str(row[0] if row else 0)),
    ]


def series_health(service: Service, zone: str) -> list[dict[str, Any]]:
    """Every known series with its newest fit: learnt, drifting, not learnt yet, or why it cannot be."""
    drifting = {(stream, asset) for stream, assets in service.pipeline.drifting_assets().items() for asset in assets}
    with service.history.cursor() as cursor:
        rows = cursor.execute(
            "SELECT s.name, r.asset, epoch_ns(f.time), f.rows, f.max_false_alarms_per_day, f.problem, f.choices "
            "FROM series r JOIN streams s USING (stream_id) LEFT JOIN "
            '(SELECT *, row_number() OVER (PARTITION BY stream, asset ORDER BY "time" DESC) AS newest FROM fits) f '
            "ON f.stream = s.name AND f.asset = r.asset AND f.newest = 1 ORDER BY s.name, r.asset LIMIT ?",
            [_MOST_ROWS],
        ).fetchall()
    shown = []
    for stream, asset, time, n, accepted, problem, choices in rows:
        state = "warming up" if time is None else "learnt" if problem is None else f"not learnt: {problem}"
        if (stream, asset) in drifting:
            state = "drifting: scores higher in quiet time than when it was learnt; consider --relearn"
        shown.append(
            {
                "stream": stream,
                "asset": asset,
                "state": state,
                "since": "" if time is None else clock(time, zone),
                "rows": "" if n is None else f"{n:,}",
                "can spend": "" if accepted is None else f"up to {accepted:,.3g} false alarms a day",
                "chose": "; ".join(choices or ()),
            }
        )
    return shown


def counts(service: Service) -> list[dict[str, Any]]:
    """What was counted since the start."""
    found = service.pipeline.statistics.counts.copy()
    return [
        {"stream": stream, "what": name.replace("_", " "), "count": f"{count:,}"}
        for (stream, name), count in sorted(found.items())
    ]


def newest_dead_letters(service: Service) -> list[dict[str, Any]]:
    """The newest records that could not be used."""
    with service.history.cursor() as cursor:
        rows = cursor.execute(
            "SELECT topic, partition, record_offset, reason, detail FROM dead_letters ORDER BY rowid DESC LIMIT 100"
        ).fetchall()
    return [
        {"place": f"{topic}/{partition}@{offset}", "reason": reason.replace("_", " "), "detail": detail}
        for topic, partition, offset, reason, detail in rows
    ]
