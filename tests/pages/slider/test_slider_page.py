"""The page in an offline headless Chromium: what it shows matches the states."""

from __future__ import annotations

import base64
import dataclasses
import json
import re

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.helpers.curve_examples import BETAS, DEVICES, noisy
from vaebalance.base.errors import UserError
from vaebalance.pages.kit.page import content_policy
from vaebalance.pages.slider.facts import Mark
from vaebalance.pages.slider.motion import TENTHS, motion
from vaebalance.pages.slider.slider_page import render, write_curve_page

CANVAS = """(cell) => {
    const canvas = document.querySelectorAll(".cells canvas")[cell];
    const { width, height } = canvas;
    return [...canvas.getContext("2d").getImageData(0, 0, width, height).data];
}"""


AXED = {("sixty", "dark"), ("hostile", "phone")}
"""A test below checks one latent on the desktop."""


def check_with_axe(page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def opened(visit, example, **options):
    page, heard = visit(example.page, **options)
    page.wait_for_selector(".slider.drawn")
    return page, heard


def spoken(page) -> str:
    return page.locator("#beta").get_attribute("aria-valuetext")


def wait_for_state(page, example, index: int) -> None:
    """Wait until the page shows the state."""
    distortion = f"{example.states[index].distortion:.2f}"
    page.wait_for_function(
        "(x) => document.querySelector('[data-now=distortion]').textContent === x", arg=distortion
    )


def shown_state(page, example) -> int:
    """Return the state at the slider's thumb."""
    at = float(page.locator("#beta").input_value())
    return int(np.abs(np.log10([s.beta for s in example.states]) - at).argmin())


def pixels(page, cell: int) -> np.ndarray:
    """Return the grey values of a picture as drawn."""
    found = np.array(page.evaluate(CANVAS, cell)).reshape(8, 8, 4)
    assert (found[..., 3] == 255).all()
    return found[..., 0]


def settled(page) -> None:
    """Wait until pending drawing is done."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def check(page, example, index: int) -> None:
    """Check that everything that moves matches the state."""
    settled(page)
    state, moving = example.states[index], motion(example.states, [])
    assert shown_state(page, example) == index
    text = {n: page.locator(f"[data-now={n}]").inner_text() for n in ("beta", "distortion", "rate")}
    assert float(text["beta"]) == pytest.approx(state.beta, rel=0.006)
    assert float(text["distortion"]) == pytest.approx(state.distortion, abs=0.006)
    assert float(text["rate"]) == pytest.approx(state.rate, abs=0.006)
    assert spoken(page) == "beta = {beta}, D {distortion} nats, R {rate} nats".format(**text)
    x, y = moving.marker[index] / TENTHS
    assert page.locator("#marker").get_attribute("transform") == f"translate({x:g},{y:g})"
    code = page.locator("#codes circle").nth(7)
    at = [float(code.get_attribute(name)) for name in ("cx", "cy")]
    np.testing.assert_allclose(at, moving.codes[index, 7, :2] / TENTHS)
    bar = page.locator("#heights rect").first
    assert float(bar.get_attribute("height")) == pytest.approx(moving.heights[index, 0] / TENTHS)
    assert bar.get_attribute("class") == ("on" if moving.active[index, 0] else "off")
    count = len(example.shown.names)
    for cell in (0, count - 1):
        assert (pixels(page, cell) == state.reconstructions[cell, 0]).all()
    for cell in (0, len(state.samples) - 1):
        assert (pixels(page, count + cell) == state.samples[cell, 0]).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["sixty", "hostile"])
def test_it_draws_without_a_network_and_fits_and_axe_finds_nothing(name, device, examples, visit):
    example = examples(name)
    page, heard = opened(visit, example, **DEVICES[device])
    assert heard == [f"asked {example.page.as_uri()}"]
    if (name, device) in AXED:
        check_with_axe(page)
    cells = len(example.shown.names) + len(example.states[0].samples)
    assert page.locator(".cells canvas").count() == cells
    assert page.locator("img[data-cell], #unmoved").count() == 0
    for width in (page.viewport_size["width"], 320):
        page.set_viewport_size({"width": width, "height": 600})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", paper)[:3])) < 80) == (device == "dark")


def test_keys_go_through_every_state(sixty, visit):
    page, _ = opened(visit, sixty)
    check(page, sixty, 30)  # the state shown without JavaScript
    page.locator("#beta").focus()
    page.keyboard.press("Home")
    check(page, sixty, 0)
    seen = [shown_state(page, sixty)]
    for _ in range(59):
        page.keyboard.press("ArrowRight")
        seen.append(shown_state(page, sixty))
    assert seen == list(range(60))
    check(page, sixty, 59)
    page.keyboard.press("ArrowRight")
    check(page, sixty, 59)
    page.keyboard.press("ArrowDown")
    check(page, sixty, 58)
    page.keyboard.press("PageDown")
    assert 40 < shown_state(page, sixty) < 58
    page.keyboard.press("End")
    check(page, sixty, 59)


def test_keys_go_one_state_at_a_time_whatever_the_distances(uneven, visit):
    page, _ = opened(visit, uneven)
    page.locator("#beta").focus()
    page.keyboard.press("Home")
    for index in (1, 2, 3, 3):
        page.keyboard.press("ArrowUp")
        check(page, uneven, index)
    for index in (2, 1, 0, 0):
        page.keyboard.press("ArrowLeft")
        check(page, uneven, index)
    page.keyboard.press("End")
    check(page, uneven, 3)


def test_the_pointer_drags_it(sixty, visit):
    page, _ = opened(visit, sixty)
    box = page.locator("#beta").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(box["x"] + 2, y, steps=20)
    check(page, sixty, 0)
    page.mouse.move(box["x"] + box["width"] - 2, y, steps=20)
    check(page, sixty, 59)
    page.mouse.move(box["x"] + box["width"] * 0.25, y, steps=20)
    page.mouse.up()
    settled(page)
    assert 10 < shown_state(page, sixty) < 20
    check(page, sixty, shown_state(page, sixty))


def test_a_finger_moves_it(sixty, visit):
    page, _ = opened(visit, sixty, **DEVICES["phone"])
    box = page.locator("#beta").bounding_box()
    assert box["y"] + box["height"] <= 844  # within the reach of a thumb, without scrolling
    assert box["height"] >= 40
    page.touchscreen.tap(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2)
    check(page, sixty, 59)


def test_the_curve_can_be_dragged_along(sixty, visit):
    page, _ = opened(visit, sixty)
    curve = page.locator("#slider-curve")
    curve.scroll_into_view_if_needed()
    moving = motion(sixty.states, [])
    corner = page.evaluate("""() => {
        const box = document.querySelector("#slider-curve").getBoundingClientRect();
        const view = document.querySelector("#slider-curve").viewBox.baseVal;
        return [box.x, box.y, view.x, view.y, box.width / view.width];
    }""")

    def place(index):
        x, y = moving.marker[index] / TENTHS
        left, top, view_x, view_y, scale = corner
        return (
            left + (moving.curve.left + float(x) - view_x) * scale,
            top + (moving.curve.top + float(y) - view_y) * scale,
        )

    page.mouse.move(*place(2))
    page.mouse.down()
    settled(page)
    # States of one model coincide, so any of them may be selected.
    first = shown_state(page, sixty)
    assert sixty.states[first].distortion == sixty.states[2].distortion
    page.mouse.move(*place(59), steps=10)
    settled(page)
    last = shown_state(page, sixty)
    assert sixty.states[last].distortion == sixty.states[59].distortion
    page.mouse.up()
    page.mouse.move(*place(2), steps=3)
    settled(page)
    assert shown_state(page, sixty) == last


def test_buttons_go_to_named_states(sixty, visit):
    page, _ = opened(visit, sixty)
    page.evaluate("""() => {
        window.seen = new Set();
        const watch = document.querySelector("[data-now=beta]");
        new MutationObserver(() => seen.add(watch.textContent)).observe(watch, {
            childList: true, characterData: true, subtree: true });
    }""")
    page.locator("#beta").focus()
    page.keyboard.press("Home")
    button = page.get_by_role("button", name="β = 1")
    button.click()
    page.wait_for_selector("[data-state][aria-pressed=true]")
    check(page, sixty, 39)
    assert sixty.states[39].beta == pytest.approx(1, rel=0.06)
    assert button.get_attribute("aria-pressed") == "true"
    assert page.locator("#said").text_content() == f"β = 1: {spoken(page)}"
    assert len(page.evaluate("[...seen]")) > 3  # it passed through other states
    page.get_by_role("button", name="knee").press("Enter")
    page.wait_for_selector("[data-state][aria-pressed=true]:has-text('knee')")
    assert sixty.states[shown_state(page, sixty)].beta == pytest.approx(0.3, rel=0.06)


def test_reduced_motion_skips_the_animation(sixty, visit):
    page, _ = opened(visit, sixty, reduced_motion="reduce")
    page.get_by_role("button", name="β = 1").click()
    check(page, sixty, 39)


def test_without_a_script_the_middle_state_is_there(sixty, visit):
    page, heard = visit(sixty.page, java_script_enabled=False)
    assert heard == [f"asked {sixty.page.as_uri()}"]
    assert page.get_by_text("needs JavaScript").is_visible()
    assert not page.locator("#dial").is_visible()
    state = sixty.states[30]
    assert page.locator("[data-now=distortion]").inner_text() == f"{state.distortion:.2f}"
    assert page.locator("img[data-cell]").count() == 30
    assert page.locator("img[data-cell]").first.is_visible()
    assert page.locator("#codes circle").count() == len(sixty.shown.coded)
    x, y = motion(sixty.states, []).marker[30] / TENTHS
    assert page.locator("#marker").get_attribute("transform") == f"translate({x},{y})"


def test_pictures_that_cannot_be_read_leave_the_middle_state(sixty, visit, tmp_path):
    text = sixty.page.read_text(encoding="utf-8")
    broken = re.sub(r'("uri":"data:image/png;base64,)[^"]{200}', r"\1", text)
    assert broken != text
    path = tmp_path / "curve.html"
    path.write_text(broken, encoding="utf-8")
    page, heard = visit(path)
    page.wait_for_selector("#unmoved:has-text('could not read')")
    assert [message for message in heard if message.startswith("error")]
    assert not page.locator("#dial").is_visible()
    assert page.locator("img[data-cell]").count() == 30


def test_it_works_in_a_sandboxed_frame(sixty, visit, tmp_path):
    """MLflow shows an artifact in a frame of a blob that may only run scripts."""
    outer = tmp_path / "outer.html"
    outer.write_text("<!doctype html><title>outer</title>", encoding="utf-8")
    page, heard = visit(outer)
    page.evaluate(
        """(html) => {
            const frame = document.createElement("iframe");
            frame.sandbox = "allow-scripts";
            frame.width = 900; frame.height = 600;
            frame.src = URL.createObjectURL(new Blob([html], { type: "text/html" }));
            document.body.append(frame);
        }""",
        sixty.page.read_text(encoding="utf-8"),
    )
    page.wait_for_selector("iframe")
    frame = page.frames[1]
    frame.wait_for_selector(".slider.drawn")
    frame.locator("#beta").focus()
    page.keyboard.press("End")
    wait_for_state(frame, sixty, 59)
    settled(frame)
    assert (pixels(frame, 0) == sixty.states[59].reconstructions[0, 0]).all()
    assert not [
        message for message in heard if not message.startswith(("asked file:", "asked blob:"))
    ]


def test_axe_finds_nothing_with_one_latent(examples, visit):
    page, _ = opened(visit, examples("one_latent"), **DEVICES["desktop"])
    check_with_axe(page)


def test_hostile_names_do_nothing_and_can_be_read(hostile, visit):
    page, heard = opened(visit, hostile)
    assert page.get_by_role("button").first.inner_text() == hostile.facts.marks[0].name
    page.get_by_role("button").first.click()
    page.wait_for_selector("[data-state][aria-pressed=true]")
    assert page.evaluate("window.hacked") is None
    assert page.locator("h1").inner_text() == f"{hostile.facts.title}: the whole trade-off"
    assert page.locator(".lead").inner_text() == hostile.facts.models
    assert page.locator("main script:not(#slider-data), main b.caution, .lead img").count() == 0
    names = page.locator(".pictures li").evaluate_all("(all) => all.map((e) => e.title)")
    assert tuple(names) == hostile.shown.names
    assert any("<script>" in name for name in names)
    assert heard == [f"asked {hostile.page.as_uri()}"]


def test_print_is_light_and_without_controls(sixty, visit):
    page, _ = opened(visit, sixty, color_scheme="dark")
    page.emulate_media(media="print")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert min(map(int, re.findall(r"\d+", paper)[:3])) > 240
    assert not page.locator("#dial").is_visible()
    assert page.locator(".now").is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 128, 128)])
def test_sixty_states_of_noise_are_less_than_eight_megabytes(shape, sixty, tmp_path):
    states, shown = noisy(sixty.states, sixty.shown, shape)
    write_curve_page(tmp_path / "curve.html", states, shown, sixty.facts)
    assert (tmp_path / "curve.html").stat().st_size < 8_000_000


def test_the_same_states_give_the_same_bytes(sixty, tmp_path):
    write_curve_page(tmp_path / "again.html", sixty.states, sixty.shown, sixty.facts)
    assert (tmp_path / "again.html").read_bytes() == sixty.page.read_bytes()


def test_a_page_that_cannot_be_written_leaves_the_old_one(sixty, tmp_path):
    path = tmp_path / "curve.html"
    path.write_text("old", encoding="utf-8")
    facts = dataclasses.replace(sixty.facts, marks=(Mark("knee", 99.0),))
    with pytest.raises(UserError, match="knee"):
        write_curve_page(path, sixty.states, sixty.shown, facts)
    assert path.read_text(encoding="utf-8") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["curve.html"]


def test_the_script_is_the_only_one_that_the_policy_lets_run(sixty):
    page = render(sixty.states, sixty.shown, sixty.facts)
    script = page[page.rindex("<script>") + len("<script>") : page.rindex("</script>")]
    policy = content_policy(script, compiles=False)
    assert f'content="{policy.replace(chr(39), "&#39;")}"' in page
    assert "unsafe-eval" not in policy


def test_the_data_hold_every_state_in_order(sixty):
    text = re.search(
        r'id="slider-data">(.*?)</script>', sixty.page.read_text(encoding="utf-8")
    ).group(1)
    data = json.loads(text)
    np.testing.assert_allclose(data["logs"], np.log10(BETAS))
    assert len(base64.b64decode(data["codes"])) == 60 * len(sixty.shown.coded) * 4 * 2
    assert data["sheet"]["uri"].startswith("data:image/png;base64,")
