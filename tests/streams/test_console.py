"""The console in a real browser, on a real service: what an operator sees and does."""

import gc
import json
import re
import shutil

import pytest
import torch.distributed
from playwright.sync_api import expect, sync_playwright

from connectors.history.database import History
from connectors.sources.memory import MemorySource
from streams.configuration import Configuration
from streams.console.pages import attach_console
from streams.http import HttpServer, create_application
from streams.service import Service
from tests.streams.plant import document, event_messages, event_stream, messages, stream
from tsad.lifecycle import Action

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium to open the console with: apt-get install chromium"
)
HOSTILE = "<img src=x onerror=alert(1)>'\"pump"


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    """A service that has read everything, and the address of its console."""
    path = tmp_path_factory.mktemp("console") / "h.duckdb"
    hostile = [m.replace(b'"pump-1"', json.dumps(HOSTILE).encode()) for m in messages()]
    streams = [stream(detectors=["robust"]), event_stream(rate=None)]
    with History(path) as history:
        service = Service(
            Configuration.model_validate(document(path, streams=streams)),
            MemorySource({"plant": hostile, "plant.access": event_messages()}),
            history,
        )
        service.start()
        assert service.wait(60)
        app = create_application(service)
        attach_console(app, service)
        with pytest.raises(RuntimeError, match="serves a console already"):
            attach_console(app, service)
        server = HttpServer(app, "127.0.0.1", 0)
        # A daemon that trains has this loaded. It warns when asked for its class, as NiceGUI asks all objects that are
        # older than the server; that must not keep the console from starting.
        assert "reduce_op" in vars(torch.distributed)
        gc.collect()
        server.start()
        yield service, f"http://127.0.0.1:{server.port}"
        server.stop()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser, console):
    """The overview; an error, a dialogue or a request to anywhere else fails the test."""
    _, address = console
    page = browser.new_page()
    troubles = []
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith((address, "data:", "blob:")) else troubles.append(asked.url),
    )
    page.goto(f"{address}/console/")
    yield page
    page.close()
    assert troubles == []


def opened(page, asset):
    page.get_by_role("link", name=asset, exact=True).click()
    expect(page.get_by_text("What happened")).to_be_visible()


def test_the_overview_shows_assets_and_alarms_and_finds_them(page, console):
    service, _ = console
    expect(page.get_by_role("status", name="service", exact=True)).to_contain_text("2,300 records")
    state = next(one.state for one in service.pipeline.annunciator.conditions() if one.asset == "pump-0")
    words = state.replace("_", " ")
    expect(page.get_by_label(f"pump-0: {words}")).to_be_visible()
    rows = page.locator("tbody tr")
    expect(rows.filter(has_text="pump-0")).to_contain_text(words)
    shown = rows.count()
    page.get_by_label("search").fill("pump-0")
    expect(rows).to_have_count(1)
    page.get_by_label("search").fill("")
    expect(rows).to_have_count(shown)
    page.get_by_role("combobox", name="state").click()
    page.get_by_role("option", name="active_acknowledged").click()
    expect(page.get_by_text("No data available")).to_be_visible()


def test_a_name_that_is_html_is_a_name(page):
    opened(page, HOSTILE)
    expect(page.get_by_text(HOSTILE, exact=True)).to_be_visible()


def test_an_alarm_says_why_in_words_and_draws_its_channel(page):
    opened(page, "pump-0")
    expect(page.get_by_text(re.compile("^pump-0 behaves unusually, as odd as once in .*flow is"))).to_be_visible()
    expect(page.get_by_text(re.compile("^What each detector said: robust, (1 in|rarer)"))).to_be_visible()
    assert page.get_by_role("cell", name="100 %").count() == 1
    expect(page.locator("canvas").first).to_be_visible()
    expect(page.get_by_role("cell", name="alarm.raised, medium").first).to_be_visible()


def test_an_odd_event_names_its_attribute(page, console):
    service, address = console
    asset = next(one for one in service.pipeline.annunciator.conditions() if one.stream == "access")
    page.goto(f"{address}/console/alarm/{asset.alarm_id}")
    expect(page.get_by_text(re.compile("an odd event.*vault"))).to_be_visible()


def test_an_operator_acknowledges_labels_shelves_and_sees_the_trail(page, console):
    service, _ = console
    opened(page, "pump-0")
    page.get_by_role("button", name="acknowledge").click()
    expect(page.get_by_text("acknowledge: say who does it")).to_be_visible()
    page.get_by_label("your name").fill("ann")
    page.get_by_role("button", name="acknowledge").click()
    expect(page.get_by_text("normal, high")).to_be_visible()
    page.get_by_role("button", name="acknowledge").click()
    expect(page.get_by_text("has nothing to acknowledge; ann has done so")).to_be_visible()
    page.get_by_role("button", name="false alarm").click()
    expect(page.get_by_role("cell", name="label false by ann")).to_be_visible()
    page.get_by_role("button", name="shelve", exact=True).click()
    expect(page.get_by_text("shelve: say why")).to_be_visible()
    page.get_by_label("remark or reason").fill("cleaning")
    page.get_by_label("minutes").fill("481")
    page.get_by_role("button", name="shelve", exact=True).click()
    expect(page.get_by_text("8.02 hours are more than the 8")).to_be_visible()
    page.get_by_label("minutes").fill("30")
    page.get_by_role("button", name="shelve", exact=True).click()
    expect(page.get_by_text("shelved, high")).to_be_visible()
    expect(page.get_by_role("cell", name="shelve by ann: cleaning")).to_be_visible()
    states = {one.asset: one.state for one in service.pipeline.annunciator.conditions()}
    assert states["pump-0"] == "shelved"


def test_what_somebody_else_does_is_seen_without_loading_again(page, console):
    service, _ = console
    opened(page, HOSTILE)
    alarm = next(one for one in service.pipeline.annunciator.conditions() if one.asset == HOSTILE)
    service.pipeline.annunciator.act(alarm.alarm_id, Action("take_out_of_service", "bob", "overhaul"))
    expect(page.get_by_text("out of service, ")).to_be_visible()
    expect(page.get_by_role("cell", name="take_out_of_service by bob: overhaul")).to_be_visible()


def test_the_explorer_draws_a_channel_and_reads_anew_what_is_looked_at(page, console):
    _, address = console
    page.goto(f"{address}/console/series?stream=pumps&asset=pump-0&channel=flow")
    shown = page.get_by_role("status", name="shown")
    expect(shown).to_have_text("400 points: every stored row")
    page.get_by_role("button", name="zoom in").click()
    expect(shown).to_have_text("200 points: every stored row")
    canvas = page.locator("canvas").first
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3)
    page.mouse.wheel(0, -400)
    expect(shown).not_to_have_text("200 points: every stored row")
    page.get_by_role("button", name="all", exact=True).click()
    expect(shown).to_have_text("400 points: every stored row")
    page.get_by_role("combobox", name="channel").click()
    page.get_by_role("option", name="pressure").click()
    expect(shown).to_have_text("400 points: every stored row")


def test_the_health_page_says_what_was_learnt_and_what_could_not_be_used(page, console):
    service, address = console
    page.goto(f"{address}/console/health")
    expect(page.get_by_role("cell", name="records/s")).to_be_visible(timeout=15_000)
    row = page.locator("tr").filter(has_text="pump-0").filter(has_text="learnt")
    expect(row.first).to_contain_text("false alarms a day")
    expect(page.get_by_role("row").filter(has_text="transactions")).to_contain_text(
        f"{service.pipeline.statistics.commits}"
    )


def test_the_name_in_the_header_leads_back_to_the_overview(page):
    opened(page, "pump-0")
    page.get_by_role("link", name="overview").click()
    expect(page.get_by_label("search")).to_be_visible()


def test_an_alarm_that_there_is_not_is_said_to_be_unknown(page, console):
    _, address = console
    page.goto(f"{address}/console/alarm/alm_x")
    expect(page.get_by_text("there is no alarm 'alm_x'")).to_be_visible()
