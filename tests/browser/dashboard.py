"""The dashboard in a real browser, opened from disk: curves are drawn, hovering, zooming and sorting work, nothing is
written to the console as an error, and nothing is asked of the network.

Usage: dashboard.py CHROMIUM PAGES SCREENSHOTS, with the pages that `cargo test --package harness --test runner -- cases::dashboard` keeps. `make
test-dashboard` does all of it. Ends with 1 at the first thing that does not hold.
"""

import pathlib
import sys
import time

from playwright.sync_api import Page, sync_playwright

# The promise for 200 runs of 10,000 steps, from opening the file to drawn curves.
OPENS_WITHIN_S = 2.0


def check(holds: bool, what: str) -> None:
    print("ok  " if holds else "FAIL", what)
    if not holds:
        sys.exit(1)


class Visit:
    """A page from disk, with what it asks for and complains of."""

    def __init__(self, page: Page, file: pathlib.Path):
        self.page, self.requests, self.errors = page, [], []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        begun = time.monotonic()
        page.goto(file.as_uri())
        page.wait_for_function("Number(document.querySelector('#chart canvas').dataset.curves) > 0")
        self.opened_s = time.monotonic() - begun

    def end(self, file: pathlib.Path) -> None:
        check(not self.errors, f"no error in the console {self.errors}")
        others = [url for url in self.requests if url != file.as_uri() and not url.startswith("data:")]
        check(not others, f"nothing is asked of the network {others}")


def ink(page: Page) -> int:
    """Pixels of the chart that are not grey, so of curves."""
    return page.evaluate("""() => {
        const canvas = document.querySelector('#chart canvas');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let count = 0;
        for (let i = 0; i < data.length; i += 4)
            if (data[i + 3] > 0 && Math.max(data[i], data[i+1], data[i+2]) - Math.min(data[i], data[i+1], data[i+2]) > 40) count++;
        return count;
    }""")


def column(page: Page, index: int) -> list[str]:
    return page.eval_on_selector_all("#runs tbody tr", f"rows => rows.map(row => row.cells[{index}].textContent.trim())")


def small(page: Page, pages: pathlib.Path, shots: pathlib.Path) -> None:
    file = pages / "dashboard-small.html"
    visit = Visit(page, file)
    check(len(column(page, 1)) == 4, "every run has a row")
    check(ink(page) > 100, "curves are drawn")

    tasks = page.eval_on_selector_all("#metric option", "options => options.map(o => o.value).filter(v => v.startsWith('tasks '))")
    check(len(tasks) >= 1, "the scores of tasks have curves")
    page.select_option("#metric", tasks[0])
    check(ink(page) > 100, "the curves of a task are drawn")
    page.select_option("#metric", "loss")
    loss = ink(page)
    check(loss > 100, "the training loss is drawn")
    box = page.locator("#chart canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.wait_for_selector("#tip:not([hidden])")
    check("step" in page.inner_text("#tip") and "seed" in page.inner_text("#tip"), "hovering shows step and values")

    before = page.evaluate("JSON.stringify(view)")
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 90)
    page.mouse.up()
    check(before == "null" and page.evaluate("view.length") == 2, "dragging zooms")
    page.mouse.dblclick(box["x"] + box["width"] * 0.5, box["y"] + 60)
    check(page.evaluate("view") is None, "a double click shows the whole range")

    for axis in ["step", "flops", "time", "tokens"]:
        page.select_option("#axis", axis)
        check(ink(page) > 100, f"curves over {axis}")
    page.check("#log")
    check(ink(page) > 100, "a logarithmic axis")
    page.uncheck("#log")

    curves = "Number(document.querySelector('#chart canvas').dataset.curves)"
    chosen = page.evaluate(curves)
    page.locator("#runs tbody input:checked").first.click()
    check(page.evaluate(curves) == chosen - 1, "a run can be taken off")
    page.click("#latest")
    page.fill("#filter", "tiny")
    check(set(column(page, 1)) == {"tiny"}, "the filter leaves what it names")
    page.fill("#filter", "")
    check("</script>" in page.inner_text("#lineage"), "a hostile title is text")
    check(page.locator("#lineage ul ul li").count() == 1, "a child stands below its parent")
    link = page.get_attribute("#runs tbody a", "href")
    check(link.startswith("../../experiments/") and link.endswith("/"), f"the record is linked {link}")
    check(page.locator("#tasks tbody tr").count() >= 1, "tasks have rows")
    check(page.locator("#findings details").count() >= 1, "diagnoses are there")
    page.locator("#members summary").first.click()
    check(page.locator("#members tbody tr").count() > 1, "the tasks of a group have rows")
    page.locator("#findings li summary").first.click()
    opened = page.inner_text("#findings")
    check("evidence:" in opened and "harness plot" in opened, "a finding shows its evidence and its figure")
    page.screenshot(path=shots / "small.png", full_page=True)
    page.set_viewport_size({"width": 420, "height": 900})
    wide = page.evaluate("document.documentElement.scrollWidth")
    check(wide <= 420, f"a narrow window needs no sideways scrolling ({wide})")
    page.screenshot(path=shots / "narrow.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    check(visit.page.inner_text("#parts tbody tr:last-child td") == "all", "the budget has a row for all")

    page.select_option("#axis", "step")
    page.evaluate("Object.values(chosenRuns()[0].curve).filter(Array.isArray).forEach(points => points.splice(10)); drawChart()")
    box = page.locator("#chart canvas").bounding_box()
    page.locator("#chart canvas").hover(position={"x": box["width"] - 20, "y": 60})
    tip = page.inner_text("#tip")
    check(tip.startswith("step 20,") and tip.count(" at step 10") == 1, f"a value of a curve that ended says at which step {tip!r}")
    visit.end(file)


def large(page: Page, pages: pathlib.Path, shots: pathlib.Path) -> None:
    file = pages / "dashboard-large.html"
    size = file.stat().st_size
    visit = Visit(page, file)
    print(f"     200 runs of 10,000 steps: {size / 1e6:.2f} MB, opened in {visit.opened_s:.2f} s")
    check(size < 5_000_000, "less than 5 MB")
    check(visit.opened_s < OPENS_WITHIN_S, f"opens in less than {OPENS_WITHIN_S} s")
    check("points for 10,000 steps" in page.inner_text("#thinned"), "the page says that it is thinned")
    page.select_option("#metric", "loss")
    check(ink(page) > 100, "curves are drawn")
    for way in ("ascending", "descending"):
        page.click("#runs th button:text-is('bits/byte')")
        bits = [float(text) for text in column(page, 5)]
        check(bits == sorted(bits, reverse=way == "descending") and len(set(bits)) > 100, f"sorting is {way}")
        check(page.get_attribute("#runs th[aria-sort]", "aria-sort") == way, "the sorted column says so")
    page.screenshot(path=shots / "large.png")
    visit.end(file)


def main() -> None:
    chromium, pages, shots = sys.argv[1], pathlib.Path(sys.argv[2]).resolve(), pathlib.Path(sys.argv[3])
    shots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        # No sandbox: containers and root have none, and the page is our own.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for visit in (small, large):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            visit(page, pages, shots)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
