"""The explorer as people use it: by mouse, by keyboard, by what a screen reader gets."""

import re

import pytest

from recsys_dagster.serving.opened import OpenSnapshot
from recsys_dagster.snapshots.reader import Snapshot
from tests.serving.conftest import NAME

pytestmark = pytest.mark.page

HOME = f"/c/{NAME}"
SMALL = """() => [...document.querySelectorAll("button, input, textarea, summary, .button, a.chip")]
    .filter((each) => each.checkVisibility() && each.type !== "hidden" && !each.closest(".unseen"))
    .filter((each) => each.getBoundingClientRect().height < 43.5)
    .map((each) => each.outerHTML)"""


@pytest.fixture(scope="module")
def snapshot(place):
    return OpenSnapshot(Snapshot.current(place.snapshots, NAME))


@pytest.fixture(scope="module")
def user(snapshot):
    """Somebody with a history."""
    return next(
        user
        for user in snapshot.some_users(50)
        if (history := snapshot.history(user)) is not None and history.positives.sum() > 1
    )


@pytest.fixture(scope="module")
def paths(snapshot, user):
    item = snapshot.popular(1)[0].item_id
    own = snapshot.history(user).item_ids[-1]
    return {
        "overview": HOME,
        "find": f"{HOME}/find?q=love",
        "user": f"{HOME}/users/{user}",
        "counterfactual": f"{HOME}/users/{user}?without={own}",
        "nobody": f"{HOME}/users/nobody",
        "item": f"{HOME}/items/{item}",
        "no_item": f"{HOME}/items/nothing",
        "try": f"{HOME}/try",
        "tried": f"{HOME}/try?item={item}&text=love",
        "map": f"{HOME}/map",
        "quality": f"{HOME}/quality",
        "error": "/c/nothing",
    }


def titles(page, where="#list"):
    return page.locator(f"{where} .rec h3").all_inner_texts()


def assert_accessible(page):
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_every_page_is_accessible_and_fits(opened_page, site, paths, size, colours):
    page = opened_page(size, colours)
    for path in paths.values():
        page.goto(site + path)
        if page.locator("[data-map]").count():
            page.locator("[data-map]").scroll_into_view_if_needed()
            page.wait_for_selector("[data-drawn]")
        for details in page.locator("main details").all():
            details.locator("summary").click()
        assert_accessible(page)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= page.viewport_size["width"], path
        assert page.evaluate(SMALL) == [], path


def test_found_as_it_is_typed_and_opened_by_keyboard(opened_page, site, snapshot):
    page = opened_page()
    page.goto(site + HOME)
    title = snapshot.popular(1)[0].title
    page.get_by_role("searchbox", name="Find an item or a user").press_sequentially(title[:4])
    link = page.locator("[data-popover] a").first
    link.wait_for()
    assert_accessible(page)
    page.wait_for_function("document.getElementById('announce').textContent.includes('found')")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.closest('[data-popover]') !== null")
    page.keyboard.press("Escape")
    assert page.locator("[data-popover]").is_hidden()
    page.keyboard.press("Backspace")
    link.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/items/*")


def test_an_item_is_struck_out_and_put_back(opened_page, site, snapshot, user):
    page = opened_page()
    page.goto(f"{site}{HOME}/users/{user}")
    before = titles(page)
    own = snapshot.history(user)
    item = own.item_ids[own.positives][-1]
    strike = page.locator(f'#history [data-focus="strike-{item}"]')
    strike.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**?without={item}")
    page.locator(".what-if").wait_for()
    assert "Put back" in strike.inner_text()
    assert strike.evaluate("(own) => own === document.activeElement")
    assert re.search(r"left the list, \d+ came in", page.locator("#announce").inner_text())
    gone = page.locator(".left-list a").all_inner_texts()
    assert set(before) - set(titles(page)) == set(gone)
    assert_accessible(page)
    page.keyboard.press("Enter")
    page.locator(".what-if").wait_for(state="detached")
    assert titles(page) == before
    page.go_back()
    page.locator(".what-if").wait_for()


def test_a_list_follows_what_is_chosen(opened_page, site, snapshot):
    page = opened_page("phone")
    page.goto(f"{site}{HOME}/try")
    popular = titles(page)
    wanted = snapshot.popular(1)[0].title
    page.locator("#q").press_sequentially(wanted)
    page.locator("#offered button", has_text=wanted).first.click()
    page.locator("#chosen .chip", has_text=wanted).wait_for()
    assert page.locator("#q").input_value() == ""
    assert page.locator("#q").evaluate("(own) => own === document.activeElement")
    assert page.locator("#list h2").inner_text() == "They would get"
    assert titles(page) != popular
    assert page.locator("#list .because").first.inner_text() == "because you liked"
    assert_accessible(page)
    page.locator("#chosen .chip").click()
    page.locator("#chosen .chip").wait_for(state="detached")
    assert titles(page) == popular


def test_a_list_follows_what_is_written(opened_page, site):
    page = opened_page()
    page.goto(f"{site}{HOME}/try")
    page.get_by_label("What they look for, in words").press_sequentially("rockets")
    page.locator("#list", has_text="similarity to the text").wait_for()
    assert page.url.endswith("?text=rockets")
    assert page.get_by_label("What they look for, in words").input_value() == "rockets"


def test_the_map_by_keyboard_and_mouse(opened_page, site):
    page = opened_page()
    page.goto(f"{site}{HOME}/map")
    page.wait_for_selector("[data-drawn]")
    canvas = page.locator("canvas")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    first = page.locator("[data-map-said]").inner_text()
    assert first
    for key in ("ArrowUp", "ArrowDown", "ArrowLeft", "+", "-"):
        page.keyboard.press(key)
    assert page.locator("[data-map-tip]").is_visible()
    category = page.locator("[data-map-legend] button").first
    category.click()
    assert category.get_attribute("aria-pressed") == "true"
    canvas.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/items/*")
    assert page.locator("h1").inner_text()


def test_catalog_pages_without_a_script(opened_page, site, snapshot, user):
    page = opened_page(scripts=False)
    page.goto(f"{site}{HOME}/users/{user}")
    page.locator("#history .strike").first.click()
    assert page.locator(".what-if").is_visible()
    page.goto(f"{site}{HOME}/try")
    wanted = snapshot.popular(1)[0].title
    page.locator("#q").fill(wanted)
    page.get_by_role("button", name="Find", exact=True).last.click()
    page.locator("#offered button", has_text=wanted).first.click()
    page.locator("#q").fill("")
    page.get_by_role("button", name="Show the list").click()
    assert page.locator("#chosen .chip", has_text=wanted).is_visible()
    assert page.locator("#list h2").inner_text() == "They would get"
    page.locator("#find").fill(user)
    page.locator("#find").press("Enter")
    page.locator("#found a", has_text=user).first.click()
    assert page.locator("h1").inner_text() == user


def test_in_with_a_key_and_out(opened_page, guarded, key):
    page = opened_page("phone", "dark")
    assert page.goto(f"{guarded}{HOME}/map").status == 401
    assert_accessible(page)
    page.get_by_label("Key").fill("rk_1_wrong")
    page.get_by_role("button", name="Sign in").click()
    page.locator("#fault").wait_for()
    assert_accessible(page)
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**{HOME}/map")
    page.wait_for_selector("[data-drawn]")
    assert key not in page.url
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    assert page.goto(f"{guarded}{HOME}").status == 401
