"""What all pages of the console share: the header, and how a time axis is labelled."""

from zoneinfo import ZoneInfo

from nicegui import ui

from streams.access.entrance import CONSOLE_PATH, LOGIN_PATH, LOGOUT_PATH
from streams.console import views
from streams.console.visit import Visit
from streams.service import Service

__all__ = ["P_VALUE_LABEL", "REFRESH_SECONDS", "axis_label", "header"]

REFRESH_SECONDS = 2.0
P_VALUE_LABEL = {"color": "#bbb", ":formatter": "value => value < 0.001 ? value.toExponential(0) : value"}
"""Labels of an axis of p-values, which span many powers of ten."""


def axis_label(zone: str) -> str:
    """A function in the browser that labels a time axis in the plant's zone; the same for each reader."""
    return (
        "value => new Intl.DateTimeFormat('sv-SE', "
        f"{{timeZone: '{ZoneInfo(zone).key}', dateStyle: 'short', timeStyle: 'medium'}}).format(value)"
    )


def header(service: Service, visit: Visit) -> None:
    """The bar on top: ways, how the service does, who is logged in."""
    with ui.header().classes("items-center justify-between bg-grey-10"):
        with ui.row().classes("items-center gap-6"):
            ui.link("tsad", "/").classes("text-xl text-white no-underline").props("aria-label=overview")
            ui.link("series", "/series").classes("text-white")
            ui.link("health", "/health").classes("text-white")
        words = ui.label().props("role=status aria-label=service")
        who = visit.principal
        if who is not None:
            ui.link(f"log out {who.name}", _below(LOGOUT_PATH)).classes("text-white")

    def refresh() -> None:
        if visit.ended:
            ui.navigate.to(_below(LOGIN_PATH))
            return
        found = views.health(service)
        lag = "" if found["lag"] is None else f", {found['lag']} waiting"
        problems = "" if found["ready"] else "NOT READY: " + "; ".join(found["problems"]) + " | "
        words.text = (
            f"{problems}{found['unacknowledged']} unacknowledged | {found['records']:,} records{lag} | "
            f"{found['learnt']} learnt, {found['drifting']} drifting | {found['dead_letters']} dead letters | "
            f"{found['webhooks_pending']} webhooks pending"
        )

    refresh()
    ui.timer(REFRESH_SECONDS, refresh)


def _below(path: str) -> str:
    """A path as NiceGUI's own links want it: below the place where the console is served."""
    return path.removeprefix(CONSOLE_PATH)
