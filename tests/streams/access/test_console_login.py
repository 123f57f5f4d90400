"""Logging in to the console with a real browser: wrong tokens, roles, and sessions that end."""

import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright

from streams.access.tokens import new_token

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium to open the console with: apt-get install chromium"
)
VIEWER, OPERATOR = new_token(), new_token()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    command = [sys.executable, "-m", "tests.streams.access.guarded_console"]
    process = subprocess.Popen(
        [*command, str(tmp_path_factory.mktemp("guarded")), VIEWER, OPERATOR],
        cwd=Path(__file__).parents[3], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    address = next(line.strip() for line in process.stdout if line.startswith("http"))
    yield process, address
    process.stdin.close()
    assert process.wait(30) == 0
    process.stdout.close()


@pytest.fixture
def page(daemon):
    _, address = daemon
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{address}/console/")
        yield page
        browser.close()


def log_in(page, token):
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()


def test_a_wrong_token_is_refused_and_the_right_one_opens_the_console(page):
    page.wait_for_url("**/login")
    log_in(page, "tsad_wrong")
    expect(page.get_by_role("alert")).to_have_text("the token is not known")
    log_in(page, OPERATOR)
    expect(page.get_by_label("pump-0:", exact=False)).to_be_visible()
    page.get_by_role("link", name="log out the operator").click()
    page.wait_for_url("**/login")
    page.goto(page.url.replace("/login", "/"))
    page.wait_for_url("**/login")


def test_a_viewer_sees_and_does_not_act_and_an_operator_signs_by_name(page):
    log_in(page, VIEWER)
    page.get_by_role("link", name="pump-0", exact=True).click()
    page.get_by_role("button", name="acknowledge").click()
    expect(page.get_by_text("operators may do this; the viewer is a viewer")).to_be_visible()
    page.get_by_role("link", name="log out the viewer").click()
    log_in(page, OPERATOR)
    page.get_by_role("link", name="pump-0", exact=True).click()
    page.get_by_label("your name").fill("ann")
    page.get_by_role("button", name="acknowledge").click()
    expect(page.get_by_role("cell", name="acknowledge by ann (the operator)")).to_be_visible()


def test_a_session_that_ends_closes_the_open_page(page, daemon):
    process, _ = daemon
    log_in(page, OPERATOR)
    expect(page.get_by_label("pump-0:", exact=False)).to_be_visible()
    process.stdin.write("3600\n")
    process.stdin.flush()
    page.wait_for_url("**/login")


def test_nobody_reaches_the_console_behind_the_log_in(daemon):
    _, address = daemon
    with httpx.Client(base_url=address, trust_env=False) as client:
        assert (
            client.get("/console/_nicegui_ws/socket.io/", params={"EIO": 4, "transport": "polling"}).status_code == 401
        )
        upgrade = {
            "connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        }  # fmt: skip
        answer = client.get("/console/_nicegui_ws/socket.io/", params={"transport": "websocket"}, headers=upgrade)
        assert answer.status_code == 403
        client.post("/console/login", data={"token": OPERATOR})
        foreign = {**upgrade, "origin": "https://attacker.example"}
        answer = client.get("/console/_nicegui_ws/socket.io/", params={"transport": "websocket"}, headers=foreign)
        assert answer.status_code == 403
