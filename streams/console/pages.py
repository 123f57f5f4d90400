"""The pages of the console. One console a process: the library that draws it has one application."""

import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from nicegui import ui

from connectors.errors import HistoryError
from streams.access.entrance import CONSOLE_PATH as PATH
from streams.console import views
from streams.console.explorer import explorer
from streams.console.frame import P_VALUE_LABEL, REFRESH_SECONDS, axis_label, header
from streams.console.health import health_page
from streams.console.remarks import remarks
from streams.console.visit import Visit
from streams.errors import AlarmNotFoundError
from streams.service import Service
from tsad.lifecycle import Action, ActionRefusedError

__all__ = ["PATH", "attach_console"]

_COLOURS = {
    "active_unacknowledged": "red", "active_acknowledged": "orange", "returned_unacknowledged": "amber",
    "shelved": "blue-grey", "out_of_service": "blue-grey", "suppressed_by_design": "blue-grey",
    "normal": "green",
}  # fmt: skip
_COLUMNS = ("state", "severity", "what", "asset", "stream", "started", "changed", "acknowledged_by")
_attached: list[FastAPI] = []


def attach_console(app: FastAPI, service: Service) -> None:
    """Serve the console of a service under ``/console``.

    Raises
    ------
    RuntimeError
        This process serves a console already.
    """
    if _attached:
        raise RuntimeError("this process serves a console already; run one daemon a process")
    _attached.append(app)

    entrance = app.state.entrance

    @ui.page("/")
    def overview(request: Request) -> None:
        _overview(service, Visit(entrance, request))

    @ui.page("/alarm/{alarm_id}")
    def alarm(request: Request, alarm_id: str) -> None:
        _alarm(service, alarm_id, Visit(entrance, request))

    @ui.page("/series")
    def series(request: Request, stream: str = "", asset: str = "", channel: str = "") -> None:
        explorer(service, Visit(entrance, request), stream, asset, channel)

    @ui.page("/health")
    def health(request: Request) -> None:
        health_page(service, Visit(entrance, request))

    ui.run_with(app, mount_path=PATH, title="tsad", dark=True, language="en-US", show_welcome_message=False)
    start = app.router.lifespan_context

    @asynccontextmanager
    async def start_quietly(app: FastAPI) -> AsyncIterator[Any]:
        # At its start NiceGUI asks every object of the process for its class, and torch's deprecated ones complain.
        async with AsyncExitStack() as stack:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                state = await stack.enter_async_context(start(app))
            yield state

    app.router.lifespan_context = start_quietly


def _overview(service: Service, visit: Visit) -> None:
    header(service, visit)
    ui.label("Assets").classes("text-lg")
    assets = ui.row().classes("gap-2")
    ui.label("Alarms").classes("text-lg")
    with ui.row().classes("items-center"):
        state = ui.select(["all", *_COLOURS], value="all", label="state").classes("w-64")
        text = ui.input("search").props("clearable")
    table = ui.table(
        columns=[
            {"name": name, "label": name.replace("_", " "), "field": name, "sortable": True, "align": "left"}
            for name in _COLUMNS
        ],
        rows=[], row_key="alarm_id", pagination=25,
    ).classes("w-full")  # fmt: skip
    table.add_slot(
        "body-cell-state",
        '<q-td :props="props"><q-badge :color="props.row.colour" text-color="black">'
        '{{ props.value.replaceAll("_", " ") }}</q-badge></q-td>',
    )
    table.add_slot(
        "body-cell-asset",
        f'<q-td :props="props"><a :href="\'{PATH}/alarm/\' + props.row.alarm_id" class="text-white">'
        "{{ props.value }}</a></q-td>",
    )
    table.bind_filter_from(text, "value")

    def refresh() -> None:
        found = views.alarm_rows(service, service.configuration.http.time_zone)
        rows = [{**row, "colour": _COLOURS[row["state"]]} for row in found]
        table.rows = [row for row in rows if state.value in {"all", row["state"]}]
        table.update()
        assets.clear()
        with assets:
            for stream, asset, worst in views.asset_states(service):
                badge = ui.badge(asset, color=_COLOURS[worst]).tooltip(f"{stream}: {worst.replace('_', ' ')}")
                # Not by a text of props: an asset's name may hold anything.
                badge.props["aria-label"] = f"{asset}: {worst.replace('_', ' ')}"
                badge.props["text-color"] = "black"

    refresh()
    state.on_value_change(refresh)
    ui.timer(REFRESH_SECONDS, refresh)


def _alarm(service: Service, alarm_id: str, visit: Visit) -> None:
    header(service, visit)
    annunciator = service.pipeline.annunciator
    zone = service.configuration.http.time_zone
    try:
        condition = annunciator.condition(alarm_id)
    except AlarmNotFoundError as error:
        ui.label(str(error)).classes("text-lg")
        return
    ui.label(condition.asset).classes("text-2xl")
    badge = ui.badge().classes("text-base").props("text-color=black")
    summary = ui.label().classes("text-lg")
    said = ui.column().classes("gap-0")
    _actions(service, alarm_id, visit, lambda: refresh())  # noqa: PLW0108 - it is defined below
    reasons = ui.table(
        columns=[
            {"name": n, "label": n, "field": n, "align": "left"}
            for n in ("what", "share", "observed", "expected", "why")
        ],
        rows=[],
    ).classes("w-full")  # fmt: skip
    chart = ui.echart({}).classes("w-full h-80")
    ui.label("What happened").classes("text-lg")
    happened = ui.table(
        columns=[{"name": n, "label": n, "field": n, "align": "left"} for n in ("time", "what", "text")],
        rows=[], pagination=20,
    ).classes("w-full")  # fmt: skip
    seen: list[Any] = []

    def refresh() -> None:
        now = annunciator.condition(alarm_id)
        badge.text = f"{now.state.replace('_', ' ')}, {now.severity}"
        badge.props(f"color={_COLOURS[now.state]}")
        happened.rows = views.timeline(service, alarm_id, zone)
        happened.update()
        if seen == [now.transition_seq]:
            return
        seen[:] = [now.transition_seq]
        words = views.newest_words(service, alarm_id)
        if words is None:
            return
        summary.text = words["summary"]
        said.clear()
        with said:
            for sentence in remarks(words, zone):
                ui.label(sentence)
        reasons.rows = _reasons(words)
        reasons.update()
        curve = views.curve_of(service, words, now.started, None if now.active else now.changed)
        chart.set_visibility(curve is not None)
        if curve is not None:
            chart.options.clear()
            chart.options.update(_chart(curve, zone))
            chart.update()

    refresh()
    ui.timer(REFRESH_SECONDS, refresh)


def _reasons(words: dict[str, Any]) -> list[dict[str, str]]:
    def text(value: Any) -> str:
        return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

    channels = [
        {"what": c["channel"], "share": f"{100 * c['share']:.0f} %", "observed": text(c["observed"]),
         "expected": text(c["expected"]), "why": c["reason"]}
        for c in words["contributions"]
    ]  # fmt: skip
    attributes = [
        {"what": a["attribute"], "share": f"{100 * a['share']:.0f} %", "observed": a["observed"],
         "expected": ", ".join(one["value"] for one in a["expected"]), "why": a["reason"]}
        for a in words["attributes"]
    ]  # fmt: skip
    return channels + attributes


def _actions(service: Service, alarm_id: str, visit: Visit, after: Callable[[], None]) -> None:
    """Buttons for what an operator may do; a refusal is shown in words."""
    with ui.row().classes("items-center"):
        who = visit.principal
        by = ui.input("your name", value="" if who is None else who.name).props("dense")
        comment = ui.input("remark or reason").props("dense").classes("w-72")
        minutes = ui.number("minutes", value=60, min=1).props("dense").classes("w-24")

        def act(kind: Any, **values: Any) -> None:
            refusal = visit.refusal()
            if refusal is not None:
                ui.notify(refusal, type="negative")
                return
            now_who = visit.principal
            signed = (by.value or "") if now_who is None else now_who.signature(by.value or "")
            if kind == "shelve":
                now = service.pipeline.annunciator.now().timestamp()
                values["until"] = round((now + 60 * float(minutes.value or 0)) * 1e6) * 1_000
            try:
                done = service.pipeline.annunciator.act(alarm_id, Action(kind, signed, comment.value or "", **values))
            except (ActionRefusedError, HistoryError) as error:
                ui.notify(str(error), type="negative")
                return
            service.sender.notify()
            ui.notify(f"{done.asset}: {done.state.replace('_', ' ')}", type="positive")
            comment.value = ""
            after()

        for label, kind in (
            ("acknowledge", "acknowledge"), ("shelve", "shelve"), ("unshelve", "unshelve"),
            ("out of service", "take_out_of_service"), ("back in service", "return_to_service"), ("comment", "comment"),
        ):  # fmt: skip
            ui.button(label, on_click=lambda _, kind=kind: act(kind)).props("dense no-caps")
        for label, what in (("real", "true"), ("false alarm", "false"), ("known", "known")):
            ui.button(label, on_click=lambda _, what=what: act("label", label=what)).props("dense no-caps outline")


def _chart(curve: views.Curve, zone: str) -> dict[str, Any]:
    """Options of ECharts: the channel with its usual band, the episode shaded, p-values below."""
    band = (
        []
        if curve.lower is None
        else [[{"yAxis": curve.lower, "itemStyle": {"color": "#2e7d3244"}}, {"yAxis": curve.upper}]]
    )
    end = curve.ended if curve.ended is not None else (curve.points[-1][0] if curve.points else curve.started)
    ends = {"min": curve.points[0][0], "max": curve.points[-1][0]} if curve.points else {}
    label = {":formatter": axis_label(zone), "hideOverlap": True, "color": "#bbb"}
    dim = {
        "splitLine": {"lineStyle": {"color": "#444"}},
        "axisLabel": {"color": "#bbb"},
        "nameTextStyle": {"color": "#bbb"},
    }
    episode = [[{"xAxis": curve.started, "itemStyle": {"color": "#c6282833"}}, {"xAxis": end}]]
    return {
        "animation": False,
        "tooltip": {"trigger": "axis", "axisPointer": {"label": {":formatter": f"p => ({axis_label(zone)})(p.value)"}}},
        "dataZoom": [{"type": "inside", "xAxisIndex": [0, 1]}, {"type": "slider", "xAxisIndex": [0, 1]}],
        "grid": [{"left": 70, "right": 40, "top": top, "height": h} for top, h in (("9%", "42%"), ("64%", "16%"))],
        # Both axes have the same ends: rows without a p-value are rows all the same.
        "xAxis": [{"type": "time", "axisLabel": label, **ends},
                  {"type": "time", "gridIndex": 1, "axisLabel": label, **ends}],
        "yAxis": [
            {"type": "value", "name": curve.channel, "scale": True, **dim},
            {"type": "log", "name": "p-value", "gridIndex": 1, "max": 1, **dim, "axisLabel": P_VALUE_LABEL},
        ],
        "series": [
            {"type": "line", "name": curve.channel, "data": curve.points, "showSymbol": False,
             "markArea": {"silent": True, "data": [*band, *episode]}},
            {"type": "line", "name": "p-value", "data": curve.p_values, "showSymbol": False, "xAxisIndex": 1,
             "yAxisIndex": 1},
        ],
    }  # fmt: skip
