"""How the service and its detectors do: one page to look at before trusting a quiet night."""

from typing import Any

from nicegui import ui

from streams.console import health_views as views
from streams.console.frame import REFRESH_SECONDS, header
from streams.console.visit import Visit
from streams.service import Service

__all__ = ["health_page"]

_SLOWER = 5 * REFRESH_SECONDS


def health_page(service: Service, visit: Visit) -> None:
    """Build the page."""
    header(service, visit)
    zone = service.configuration.http.time_zone
    ui.label("Service").classes("text-lg")
    figures = _table("what", "now")
    ui.label("Series: what was learnt, and whether it still holds").classes("text-lg")
    learnt = _table("stream", "asset", "state", "since", "rows", "can spend", "chose", pagination=25)
    search = ui.input("search series").props("clearable")
    learnt.bind_filter_from(search, "value")
    ui.label("Records").classes("text-lg")
    counts = _table("stream", "what", "count", pagination=25)
    ui.label("Dead letters, the newest").classes("text-lg")
    dead = _table("place", "reason", "detail", pagination=10)
    before: list[int] = []

    def refresh() -> None:
        records = service.pipeline.statistics.records
        rate = (records - before[0]) / _SLOWER if before else None
        before[:] = [records]
        figures.rows = [{"what": what, "now": now} for what, now in views.service_figures(service, rate)]
        learnt.rows = views.series_health(service, zone)
        counts.rows = views.counts(service)
        dead.rows = views.newest_dead_letters(service)
        for table in (figures, learnt, counts, dead):
            table.update()

    refresh()
    ui.timer(_SLOWER, refresh)


def _table(*names: str, pagination: int = 0) -> Any:
    columns = [{"name": n, "label": n, "field": n, "align": "left", "sortable": True} for n in names]
    return ui.table(columns=columns, rows=[], pagination=pagination).classes("w-full").props("dense")
