"""Makes the pictures of the console: ``python docs/screenshots.py``, into docs/images. Needs Chromium.

The small plant of the demonstration is replayed through a real service; the pictures are of its real console.
"""

import shutil
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from connectors.history.database import History
from connectors.sources.memory import MemorySource
from streams.configuration import Configuration
from streams.console.pages import attach_console
from streams.http import HttpServer, create_application
from streams.service import Service
from tsad_cli.demo_feed import LINE_STREAMS, NANOSECONDS
from tsad_cli.demo_plant import FULL, simulated_plant

_END = 1_780_000_000 * NANOSECONDS
_SIZE = {"width": 1400, "height": 860}
_OUT = Path(__file__).parent / "images"


class _Waiting(MemorySource):
    """A source that has more to come: the service stays ready."""

    finished = False  # type: ignore[assignment]


def main() -> None:
    """Replay, open every page, and take its picture."""
    feed = simulated_plant(FULL, seed=0, end=_END)
    streams = [{"kind": "numeric", **stream} for stream in feed.streams if stream["name"] not in LINE_STREAMS]
    topics = {
        stream["topic"]: [one.value for one in feed.records if one.topic == stream["topic"]] for stream in streams
    }
    _OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, History(Path(folder) / "history.duckdb") as history:
        configuration = Configuration.model_validate(
            {
                "source": {"kind": "kafka", "bootstrap": ["127.0.0.1:1"]},
                "streams": streams,
                "history": {"path": str(history.path)},
                "http": {"time_zone": "Europe/Rome"},
            }
        )
        service = Service(configuration, _Waiting(topics), history)
        service.start()
        while service.source.health.lag or service.pipeline.pending_records:
            time.sleep(0.2)
        application = create_application(service)
        attach_console(application, service)
        server = HttpServer(application, "127.0.0.1", 0)
        server.start()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=next(filter(None, map(shutil.which, ("chromium", "google-chrome")))),
                args=["--no-sandbox"],
            )
            page = browser.new_page(viewport=_SIZE)
            _take(page, f"http://127.0.0.1:{server.port}/console", service)
            browser.close()
        server.stop()
        service.stop()
        service.wait()


def _take(page: Page, console: str, service: Service) -> None:
    gravest = next(
        one
        for one in service.pipeline.annunciator.conditions()
        if one.asset.endswith("pump-1") and one.stream == "pumps"
    )
    asset = "plant/utilities/pump-1"
    for name, path in (
        ("overview", "/"),
        ("alarm", f"/alarm/{gravest.alarm_id}"),
        ("series", f"/series?stream=pumps&asset={asset}&channel=flow_m3_h"),
        ("health", "/health"),
    ):
        page.goto(console + path)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(2_500)
        page.screenshot(path=_OUT / f"{name}.png")


if __name__ == "__main__":
    main()
