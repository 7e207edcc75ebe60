"""The page in a real browser: what is looked at, clicked and typed."""

import threading

import pytest

from mnet_jax.report.page import live
from mnet_jax.workdir import results
from tests.report.page.simulated import ERROR, finish_running, simulate, with_columns

pytestmark = pytest.mark.slow

POINTS = "#tradeoff .mark-symbol.role-mark path[aria-label]"


def find(driver, selector):
    return driver.find_elements("css selector", selector)


def one(driver, selector):
    return driver.find_element("css selector", selector)


def wait(driver, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, 60, poll_frequency=0.05).until(lambda _: condition())


def choose(driver, name, value):
    from selenium.webdriver.support.ui import Select

    Select(one(driver, f"#{name}")).select_by_value(value)


def actions(driver):
    from selenium.webdriver import ActionChains

    return ActionChains(driver)


def press(driver, *names):
    from selenium.webdriver.common.keys import Keys

    for name in names:
        driver.switch_to.active_element.send_keys(getattr(Keys, name))


def drawn(driver, count):
    """The points, once there are so many."""
    wait(driver, lambda: len(find(driver, POINTS)) == count)
    return find(driver, POINTS)


def column(driver, number):
    script = (
        "return [...document.querySelectorAll('#table tbody tr')].map((row) => row.cells[arguments[0]].textContent)"
    )
    return driver.execute_script(script, number)


def pinned(driver):
    return [button.get_attribute("data-key") for button in find(driver, "#pinned button[data-key]")]


def rings(driver):
    script = "return views.get('tradeoff').then((own) => own.view.data('cells').filter((cell) => cell.ring).length)"
    return driver.execute_script(script)


def test_a_point_tells_its_trials_and_a_click_pins_them(visit, shown):
    driver = visit(shown)
    point = drawn(driver, 9)[0]
    assert point.get_attribute("aria-label") == "alpha 1, input size 28"
    actions(driver).move_to_element(point).perform()
    tip = one(driver, "#tip")
    wait(driver, tip.is_displayed)
    assert tip.text.startswith("alpha 1, input size 28")
    assert shown["trials"]["keys"][1] in tip.text
    assert "±" in tip.text
    actions(driver).click(point).perform()
    wait(driver, lambda: pinned(driver) == shown["trials"]["keys"][:2])
    wait(driver, lambda: rings(driver) == 1)
    assert one(driver, "#table tbody tr").get_attribute("aria-selected") == "true"
    actions(driver).move_to_element(one(driver, "h1")).perform()
    wait(driver, lambda: not tip.is_displayed())
    one(driver, "#unpin").click()
    wait(driver, lambda: pinned(driver) == [] and rings(driver) == 0)


def test_rows_are_walked_and_pinned_with_the_keyboard(visit, shown):
    driver = visit(shown)
    drawn(driver, 9)
    one(driver, "#tables input[value=trials]").click()
    driver.execute_script("document.querySelector('#table tbody tr').focus()")
    press(driver, "ARROW_DOWN", "ARROW_DOWN", "ENTER")
    assert pinned(driver) == [shown["trials"]["keys"][2]]
    press(driver, "END", "SPACE")
    assert pinned(driver) == [shown["trials"]["keys"][i] for i in (2, 23)]
    press(driver, "SPACE")
    assert pinned(driver) == [shown["trials"]["keys"][2]]
    assert len(find(driver, '#table tbody tr[tabindex="0"]')) == 1, "one stop of the tab key for the whole table"


def test_the_table_is_sorted_and_filtered(visit, shown):
    driver = visit(shown)
    drawn(driver, 9)
    head = "#table thead button[data-key=top1]"
    number = [cell.text for cell in find(driver, "#table thead th")].index("top-1")
    one(driver, head).click()
    up = column(driver, number)
    assert up == sorted(up)
    assert one(driver, f"#table thead th:nth-child({number + 1})").get_attribute("aria-sort") == "ascending"
    press(driver, "ENTER")
    assert column(driver, number) == up[::-1]
    press(driver, "ENTER")
    assert not find(driver, "#table thead th[aria-sort]")
    one(driver, "#filter").send_keys("SIZE=16 alpha=0.75")
    assert column(driver, 0) == ["alpha 0.75, input size 16"]
    assert one(driver, "#count").text == "1 of 9 rows"
    one(driver, "#tables input[value=trials]").click()
    one(driver, "#filter").clear()
    one(driver, "#filter").send_keys("failed")
    assert len(column(driver, 0)) == 3


def test_axes_are_chosen_and_layers_switched(visit, small, shown_of):
    rows = with_columns(
        results.results(small),
        latency_ms_jax=lambda row: row["mult_adds"] / 1e8,
        top1_int8=lambda row: row["top1"] and row["top1"] - 0.01,
    )
    driver = visit(shown_of(small, rows))
    drawn(driver, 18)

    def layers():
        script = "return views.get('tradeoff').then((own) => own.spec.layer.map((layer) => layer.data.name))"
        return driver.execute_script(script)

    assert set(layers()) == {"bands", "laws", "front", "bars", "twins", "cells"}
    for name, gone in (("law", {"bands", "laws"}), ("front", {"front"}), ("bars", {"bars"}), ("twins", {"twins"})):
        before = set(layers())
        one(driver, f"#switches [name={name}]").click()
        wait(driver, lambda before=before, gone=gone: gone <= before - set(layers()))
    assert set(layers()) == {"lines", "cells"}, "what has no law is joined"
    one(driver, "#switches [name=papers]").click()
    drawn(driver, 9 + 16)
    choose(driver, "x", "latency_ms_jax")
    drawn(driver, 9)
    assert "latency in ms, jax (log scale)" in one(driver, "#tradeoff").text
    choose(driver, "y", "loss")
    wait(driver, lambda: "loss on the test split" in one(driver, "#tradeoff").text)
    assert [box.get_attribute("name") for box in find(driver, "#switches input")] == ["lines", "front", "bars"]


def test_pinned_trials_are_compared(visit, shown):
    driver = visit(shown)
    drawn(driver, 9)
    assert len(find(driver, "#curves-legend li")) == 4, "a choice where nothing is pinned"
    one(driver, "#tables input[value=trials]").click()
    for number in (1, 10):
        one(driver, f"#table tbody tr:nth-child({number})").click()
    wait(driver, lambda: len(find(driver, "#curve-loss .mark-line path")) == 4)
    differing = [row.text.split()[0] for row in find(driver, "#configs tbody tr")]
    assert differing == ["model.alpha", "seed"]
    assert len(find(driver, "#layers tbody tr")) == 28 + 1
    choose(driver, "layers-of", shown["trials"]["keys"][9])
    choose(driver, "layers-by", "params")
    assert one(driver, "#layers tbody tr").text.split()[:3] == ["stem/conv", "conv_1x1", "28x28x24"]
    assert one(driver, "#layers .bar").size["width"] > 0


def test_pictures_are_seen_where_there_are_some(visit, shown, with_pictures, shown_of):
    assert not one(visit(shown), "#seen").is_displayed()
    driver = visit(shown_of(with_pictures))
    wait(driver, lambda: len(find(driver, "#pictures img")) == 6)
    assert one(driver, "#seen").is_displayed()
    images = find(driver, "#pictures img")
    assert [driver.execute_script("return arguments[0].naturalWidth", image) for image in images] == [296] * 6
    assert one(driver, "#pictures figcaption").text.startswith("alpha=1.0")
    find(driver, "#table tbody tr")[1].click()
    wait(driver, lambda: not one(driver, "#seen").is_displayed())


def test_what_failed_is_shown_as_it_is_and_nothing_is_run(visit, shown):
    driver = visit(shown)
    drawn(driver, 9)
    summaries = find(driver, "#failures summary")
    assert len(summaries) == 4
    assert summaries[0].get_attribute("textContent").endswith(ERROR)
    summaries[0].click()
    assert one(driver, "#failures pre").text.endswith("line 49 <b>of</b> the log")
    one(driver, "#provenance").find_element("xpath", "..").click()
    assert "jax 0.10.2" in one(driver, "#provenance").text
    assert not find(driver, "img")
    assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0, "no network"


def test_what_was_looked_at_survives_a_reload(visit, shown):
    driver = visit(shown)
    drawn(driver, 9)
    choose(driver, "x", "params")
    one(driver, "#table tbody tr").click()
    one(driver, "#filter").send_keys("size=28")
    driver.refresh()
    drawn(driver, 9)
    assert one(driver, "#x").get_attribute("value") == "params"
    assert pinned(driver) == shown["trials"]["keys"][:2]
    assert one(driver, "#count").text == "3 of 9 rows"


def test_a_page_without_a_done_trial_says_so(visit, tmp_path, shown_of):
    driver = visit(shown_of(simulate(tmp_path / "sweep", (1.0, 0.5), (28,), (0, 1), broken=4)))
    wait(driver, lambda: one(driver, "#nothing").is_displayed())
    assert one(driver, "#nothing").text == "No trial is done yet: nothing to draw."
    assert len(column(driver, 0)) == 4
    wait(driver, lambda: len(find(driver, "#curve-loss .mark-line path")) > 0)


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_window(width, visit, driver, shown):
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    )
    try:
        drawn(visit(shown), 9)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        chart = one(driver, "#tradeoff svg").size["width"]
        assert 0.85 * width <= chart <= width
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_live_page_refreshes_and_keeps_what_was_chosen(visit, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "_PAUSE", 0)
    path = simulate(tmp_path / "sweep", (1.0, 0.75, 0.5), (28, 24), (0,), broken=3)
    with live.server([path]) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            driver = visit("http://{}:{}/".format(*server.server_address))
            drawn(driver, 3)
            choose(driver, "x", "params")
            one(driver, "#tables input[value=trials]").click()
            one(driver, "#table thead button[data-key=top1]").click()
            one(driver, "#filter").send_keys("size")
            one(driver, "#table tbody tr").click()
            key = pinned(driver)
            assert len(key) == 1
            one(driver, "#failures summary").click()
            name = finish_running(path)
            drawn(driver, 4)
            assert one(driver, "#made").text.startswith("4 done")
            assert (pinned(driver), one(driver, "#x").get_attribute("value")) == (key, "params")
            assert column(driver, 0)[3] == name, "sorted as before, the new one among the others"
            assert one(driver, "#count").text == "6 of 6 rows"
            assert [details.get_attribute("open") for details in find(driver, "#failures details")] == [None, "true"]
            assert one(driver, "#live").text.startswith("Live: looked at")
        finally:
            driver.get("about:blank")
            server.shutdown()
            thread.join()


def test_a_thousand_trials_stay_usable(visit, tmp_path, shown_of):
    alphas, sizes = [round(0.2 + 0.05 * i, 2) for i in range(20)], [16 + 2 * i for i in range(10)]
    shown = shown_of(simulate(tmp_path / "sweep", alphas, sizes, (0, 1, 2, 3, 4), rows=20), with_law=False)
    driver = visit(shown)
    drawn(driver, 200)
    one(driver, "#tables input[value=trials]").click()
    assert len(column(driver, 0)) == 1000
    one(driver, "#table thead button[data-key=top1]").click()
    one(driver, "#filter").send_keys("seed=3 size=16")
    assert len(column(driver, 0)) == 20
    one(driver, "#table tbody tr").click()
    wait(driver, lambda: rings(driver) == 1)
    actions(driver).move_to_element(drawn(driver, 200)[-1]).perform()
    wait(driver, lambda: one(driver, "#tip").is_displayed())
