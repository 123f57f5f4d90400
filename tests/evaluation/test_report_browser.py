"""The page in a real browser, opened from disk with no network."""

import shutil

import pytest
from playwright.sync_api import sync_playwright

from tests.evaluation.report_parts import HOSTILE, HOSTILE_CHANNEL, run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium to open the page with: apt-get install chromium"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run(folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        # No sandbox: tests also run as root in a container, and the page is our own.
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser, report, request):
    """The page, opened; any message, error, dialogue or request but the file itself fails the test."""
    context = browser.new_context(color_scheme=getattr(request, "param", "light"), offline=True)
    page = context.new_page()
    troubles = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda asked: troubles.append(asked.url) if asked.url != report.as_uri() else None)
    page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
    page.goto(report.as_uri())
    yield page
    context.close()
    assert troubles == []


def curves(page):
    """What Plotly has drawn of the series: names and points of its curves."""
    return page.evaluate(
        "() => document.getElementById('curves').data.map("
        "trace => [trace.name, trace.y.filter(value => value !== null).length])"
    )


@pytest.mark.parametrize("page", ["light", "dark"], indirect=True)
def test_choosing_a_series_draws_its_curves_and_tells_its_metrics(page):
    assert page.locator("#series option").first.inner_text().endswith(HOSTILE)
    names = [name for name, _ in curves(page)]
    assert names == [
        "&lt;img src=x onerror=alert(1)&gt;",
        "b",
        "score of robust; alarms below it",
        "score of sub-pca; alarms below it",
    ]
    assert all(points == 200 for _, points in curves(page))
    assert page.locator("#curves .scatterlayer .trace").count() == 4
    assert HOSTILE_CHANNEL in page.locator("#curves .annotation-text").first.text_content()
    page.locator("#series").select_option(index=5)
    assert page.locator("#series-facts").inner_text().startswith("rows: 360")
    assert "40 training rows" in page.locator("#series-errors").inner_text()
    assert [name for name, _ in curves(page)] == ["a", "b"]
    page.locator("#series").select_option(index=1)
    assert page.locator("#series-errors li").count() == 0
    head = page.locator("#series-metrics th").all_inner_texts()
    assert head[:6] == ["metric", "constant", "random", "all_ones", "robust", "sub-pca"]
    groups = page.locator("#series-metrics tr.group").all_inner_texts()
    assert groups[0] == "primary"
    assert "It ranks nothing" in groups[-1]
    after = page.locator("#series-metrics tr.group").last.locator("xpath=following-sibling::tr[1]/td[1]/strong")
    assert after.inner_text() == "pa_f1_random"


def test_the_filter_narrows_the_series(page):
    page.locator("#filter").fill("PUMP 2")
    assert page.locator("#series option").count() == 1
    assert "pump 2" in page.locator("#series option").first.inner_text()
    page.locator("#filter").fill("nothing like it")
    assert page.locator("#series option").count() == 0
    page.locator("#filter").fill("")
    assert page.locator("#series option").count() == 6


def column(page, number):
    rows = page.locator("#leaderboards table.sortable tbody tr").all()
    return [row.locator("td").nth(number).inner_text() for row in rows]


def test_columns_sort_and_trivial_predictors_stay_on_top(page):
    button = page.locator("#leaderboards table.sortable th button").nth(2)
    trivial = {"constant", "random", "all_ones"}
    for direction in ("descending", "ascending"):
        button.click()
        assert page.locator("#leaderboards th[aria-sort]").get_attribute("aria-sort") == direction
        assert set(column(page, 0)[:3]) == trivial
        values = [float(text.split()[0]) for text in column(page, 2)[3:]]
        assert values == sorted(values, reverse=direction == "descending")
    page.locator("#leaderboards table.sortable th button").first.click()
    assert column(page, 0) == ["all_ones", "constant", "random", "robust", "sub-pca"]


def test_another_metric_shows_its_figures(page):
    visible = page.locator("#comparison [data-panel]:not([hidden])")
    assert visible.get_attribute("data-metric") == "vus_pr"
    assert visible.locator(".figure .scatterlayer .trace").count() == 2
    page.locator("#comparison select").select_option("f1")
    assert visible.get_attribute("data-metric") == "f1"
    assert visible.locator(".figure .scatterlayer .trace").count() == 2
    assert "- " not in visible.locator("table").inner_text()


def test_light_and_dark_follow_the_reader(browser, report):
    context = browser.new_context(color_scheme="light", offline=True)
    page = context.new_page()
    page.goto(report.as_uri())
    seen = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(
            "name => document.getElementById('curves').layout.font.color === "
            "getComputedStyle(document.documentElement).getPropertyValue('--text').trim() "
            "&& matchMedia(`(prefers-color-scheme: ${name})`).matches",
            arg=scheme,
        )
        seen.append(page.evaluate("() => getComputedStyle(document.body).backgroundColor"))
    context.close()
    assert seen[0] == "rgb(255, 255, 255)"
    assert seen[1] != seen[0]


def test_it_prints_in_light_colours_without_its_controls(browser, report):
    context = browser.new_context(color_scheme="dark", offline=True)
    page = context.new_page()
    page.goto(report.as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    page.wait_for_function("() => document.getElementById('curves').layout.font.color === '#000000'")
    assert not page.locator("#filter").is_visible()
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf().startswith(b"%PDF")
    context.close()
