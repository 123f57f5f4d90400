"""The series explorer: any channel over all that is stored, read anew by the server for what is looked at."""

from typing import Any

from nicegui import run, ui
from nicegui.events import GenericEventArguments

from connectors.history.curves import Curve, find_place, score_curve, span, value_curve
from streams.console.frame import P_VALUE_LABEL, axis_label, header
from streams.console.visit import Visit
from streams.service import Service

__all__ = ["explorer"]

_POINTS = 1_500
_NARROWEST_NS = 10**9
_THROTTLE_SECONDS = 0.15


def explorer(service: Service, visit: Visit, stream: str, asset: str, channel: str) -> None:
    """Build the page for one channel, which may be none yet."""
    header(service, visit)
    with service.history.cursor() as cursor:
        known = cursor.execute(
            "SELECT s.name, r.asset, r.channels FROM series r JOIN streams s USING (stream_id) ORDER BY ALL"
        ).fetchall()
    channels = {(name, one): list(of) for name, one, of in known}
    with ui.row().classes("items-center"):
        series = ui.select(
            {key: f"{key[1]} ({key[0]})" for key in channels},
            value=(stream, asset) if (stream, asset) in channels else None,
            label="series",
            with_input=True,
        ).classes("w-96")
        which = ui.select(channels.get((stream, asset), []), label="channel").classes("w-64")
        if channel in channels.get((stream, asset), []):
            which.value = channel
        shown = ui.label().props("role=status aria-label=shown")
    view = _View(service, service.configuration.http.time_zone, shown)
    with ui.row():
        for label, share, wider in (
            ("zoom in", 0.0, 0.5), ("zoom out", 0.0, 2.0), ("earlier", -0.5, 1.0), ("later", 0.5, 1.0),
            ("all", 0.0, 1e30),
        ):  # fmt: skip
            button = ui.button(label, on_click=lambda _, share=share, wider=wider: view.move(share, wider))
            button.props("dense no-caps")

    def chosen() -> None:
        which.set_options(channels.get(series.value, []), value=next(iter(channels.get(series.value, [])), None))

    async def changed() -> None:
        if series.value is not None and which.value is not None:
            stream, asset = series.value
            await view.open(stream, asset, which.value)

    series.on_value_change(chosen)
    which.on_value_change(changed)
    ui.timer(0, changed, once=True)


class _View:
    """One chart, and what part of its channel is looked at."""

    def __init__(self, service: Service, zone: str, shown: ui.label) -> None:
        self._service = service
        self._zone = zone
        self._shown = shown
        self._name: tuple[str, str, str] | None = None
        self._ends = self._seen = (0, 1)
        self._whole: Curve | None = None
        self._asked = 0
        self._chart = ui.echart({}).classes("w-full").style("height: 70vh")
        self._chart.on("chart:datazoom", self._zoomed, throttle=_THROTTLE_SECONDS, leading_events=False)

    async def open(self, stream: str, asset: str, channel: str) -> None:
        """Show all of a channel."""
        self._name, self._whole = (stream, asset, channel), None
        with self._service.history.cursor() as cursor:
            place = find_place(cursor, stream, asset, channel)
            found = None if place is None else span(cursor, place)
        if found is None:
            self._shown.text = "nothing is stored of it"
            return
        self._ends = self._seen = (found[0], found[1] + 1)
        await self._draw(move=True)

    async def move(self, share: float, wider: float) -> None:
        """Look at a part as wide as the present one times `wider`, moved on by a share of it."""
        if self._name is None:
            return
        first, last = self._seen
        width = min(max(int((last - first) * min(wider, 1e9)), _NARROWEST_NS), self._ends[1] - self._ends[0])
        middle = (first + last) // 2 + int(share * (last - first))
        start = min(max(middle - width // 2, self._ends[0]), self._ends[1] - width)
        self._seen = start, start + width
        await self._draw(move=True)

    async def _zoomed(self, event: GenericEventArguments) -> None:
        """The wheel or the slider was moved: percent of the whole."""
        told = (event.args.get("batch") or [event.args])[0]
        if self._name is None or told.get("start") is None:
            return
        first, last = self._ends
        width = last - first
        start = first + int(told["start"] / 100 * width)
        self._seen = start, max(first + int(told["end"] / 100 * width), start + _NARROWEST_NS)
        await self._draw(move=False)

    def _read(self) -> tuple[Curve, Curve] | None:
        assert self._name is not None
        stream, asset, channel = self._name
        with self._service.history.cursor() as cursor:
            place = find_place(cursor, stream, asset, channel)
            if place is None:
                return None
            if self._whole is None:
                self._whole = value_curve(cursor, place, *self._ends, _POINTS)
            return value_curve(cursor, place, *self._seen, _POINTS), score_curve(cursor, place, *self._seen, _POINTS)

    async def _draw(self, *, move: bool) -> None:
        self._asked += 1
        asked = self._asked
        read = await run.io_bound(self._read)
        # Somebody who drags on asks again before the answer comes: only the newest is drawn.
        if read is None or asked != self._asked or self._whole is None or self._name is None:
            return
        values, scores = read
        options = _options(self._name[2], self._zone, self._ends, self._whole, values, scores, self._seen)
        if move:
            width = self._ends[1] - self._ends[0]
            percent = {
                "start": 100 * (self._seen[0] - self._ends[0]) / width,
                "end": 100 * (self._seen[1] - self._ends[0]) / width,
            }
            for zoom in options["dataZoom"]:
                zoom.update(percent)
        self._chart.options.clear()
        self._chart.options.update(options)
        self._chart.update()
        exact = "every stored row" if values.exact else "not every row is kept or drawn; extremes are"
        self._shown.text = f"{len(values.times):,} points: {exact}"


def _options(
    channel: str,
    zone: str,
    ends: tuple[int, int],
    whole: Curve,
    values: Curve,
    scores: Curve,
    seen: tuple[int, int],
) -> dict[str, Any]:
    """Options of ECharts: all of the channel in few points, and what is looked at in detail."""
    outside = [
        [time // 10**6, value]
        for time, value in zip(whole.times.tolist(), whole.values.tolist(), strict=True)
        if not seen[0] <= time < seen[1]
    ]
    inside = [[t // 10**6, v] for t, v in zip(values.times.tolist(), values.values.tolist(), strict=True)]
    axis = {
        "type": "time",
        "min": ends[0] // 10**6,
        "max": ends[1] // 10**6,
        "axisLabel": {":formatter": axis_label(zone), "hideOverlap": True, "color": "#bbb"},
    }
    dim = {
        "splitLine": {"lineStyle": {"color": "#444"}},
        "axisLabel": {"color": "#bbb"},
        "nameTextStyle": {"color": "#bbb"},
    }
    return {
        "animation": False,
        "tooltip": {"trigger": "axis", "axisPointer": {"label": {":formatter": f"p => ({axis_label(zone)})(p.value)"}}},
        "grid": [{"left": 70, "right": 40, "top": top, "height": h} for top, h in (("4%", "52%"), ("64%", "20%"))],
        "xAxis": [axis, {**axis, "gridIndex": 1}],
        "yAxis": [
            {"type": "value", "name": channel, "scale": True, **dim},
            {"type": "log", "name": "p-value", "gridIndex": 1, "max": 1, **dim, "axisLabel": P_VALUE_LABEL},
        ],
        "dataZoom": [{"type": kind, "xAxisIndex": [0, 1]} for kind in ("inside", "slider")],
        "series": [
            {"type": "line", "name": channel, "data": sorted(outside + inside), "showSymbol": False},
            {
                "type": "line", "name": "p-value", "showSymbol": False, "xAxisIndex": 1, "yAxisIndex": 1,
                "data": [[t // 10**6, v] for t, v in zip(scores.times.tolist(), scores.values.tolist(), strict=True)],
            },
        ],
    }  # fmt: skip
