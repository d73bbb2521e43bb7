"""Pictures of the program as its users see it, for the pages of docs/: commands on a terminal, a run that is being watched, and
the dashboard in a browser.

Run in a project with runs of a change and of its baseline; of the project, only the folder of the pictures is written to. The
run to be watched goes on in a clone of the commit and is thrown away with it. All other pictures are the same if they are made
again from the same records. `make pictures` does all of it.
"""

import argparse
import contextlib
import fcntl
import html
import io
import json
import os
import pathlib
import pty
import re
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from typing import Any, NoReturn

import pyte
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

PICTURES = ["tree", "compare", "decide", "next", "audit", "dashboard", "watch"]
# In pixels; as wide as 112 columns of the terminal's font and the edges of its window, less a little.
WIDTH = 1000
COLUMNS = 112
# So many lines of what a command prints. Of an audit the last ones, as what it found comes last.
LINES = 34
WATCHED_LINES = 33
# How much of its steps a run has done when its picture is taken.
WATCHED_SHARE = 0.7
# The dashboard is laid out for a wider window, and shrunk.
DASHBOARD_WIDTH = 1250
DASHBOARD_ROWS = 14

FONT = "DejaVu Sans Mono"
INK, BACK = "#d7dae0", "#1d2026"
COLOURS = {
    "black": "#3a404c",
    "red": "#e8727c",
    "green": "#98c379",
    "brown": "#e5c07b",
    "blue": "#61afef",
    "magenta": "#c678dd",
    "cyan": "#56b6c2",
    "white": "#d7dae0",
}
# The first sixteen of 256 colours are these, and their bright forms.
NUMBERED = dict(zip(pyte.graphics.FG_BG_256, [*COLOURS.values()] * 2))
STYLE = f"""
  body {{ margin: 0; background: transparent; }}
  #window {{ display: inline-block; padding: 14px 18px; border-radius: 8px; color: {INK}; background: {BACK}; }}
  pre {{ margin: 0; font: 14px "{FONT}"; }}
  svg {{ width: 1ch; height: 16px; vertical-align: top; fill: currentcolor; }}
  .prompt {{ color: {COLOURS["green"]}; }}
  .typed {{ font-weight: bold; }}
  .left-out {{ color: #8a909c; }}
"""
# The paper's sans serif for the dashboard, so that its picture has the same letters wherever it is made.
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir>{folder}</dir>
  <match>
    <test name="family" qual="any"><string>sans-serif</string></test>
    <edit name="family" mode="prepend" binding="strong"><string>TeX Gyre Heros</string></edit>
  </match>
</fontconfig>
"""


def fail(message: str, hint: str) -> NoReturn:
    sys.exit(f"error: {message}\nhint: {hint}")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, command: list[str], folder: pathlib.Path, lines: int):
        self.screen = pyte.Screen(COLUMNS, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.end, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, COLUMNS, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        environment["TERM"] = "xterm-256color"
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.end)

    def read(self, wait_s: float) -> bool:
        """Takes in what the command prints. False once it has ended and all is read."""
        if not select.select([self.end], [], [], wait_s)[0]:
            return True
        try:
            printed = os.read(self.end, 1 << 16)
        except OSError:  # So Linux says what others say by no bytes.
            return False
        self.stream.feed(printed)
        return bool(printed)

    def wait(self) -> int:
        """Waits for the end of the command, and gives its exit code."""
        while self.read(wait_s=60.0):
            pass
        return self.process.wait()

    def lines(self) -> list[str]:
        """The lines of the screen as HTML, down to the last that is not empty."""
        used = max((number for number, text in enumerate(self.screen.display, 1) if text.strip()), default=0)
        return [self.line(number) for number in range(used)]

    def line(self, number: int) -> str:
        pieces: list[tuple[str, str]] = []
        for column in range(COLUMNS):
            cell = self.screen.buffer[number][column]
            ink, back = colour(cell.fg, INK), colour(cell.bg, BACK)
            if cell.reverse:
                ink, back = back, ink
            style = f"color:{ink};background:{back}" + (";font-weight:bold" if cell.bold else "")
            before = pieces.pop()[1] if pieces and pieces[-1][0] == style else ""
            pieces.append((style, before + cell.data))
        return "".join(f'<span style="{style}">{drawn(text)}</span>' for style, text in pieces)


def colour(name: str, otherwise: str) -> str:
    if name == "default":
        return otherwise
    return COLOURS.get(name.removeprefix("bright")) or NUMBERED.get(name) or f"#{name}"


def drawn(text: str) -> str:
    """As HTML. Braille, of whose dots curves consist, is drawn: monospaced fonts lack it."""
    return re.sub("[\u2800-\u28ff]", lambda match: braille(match[0]), html.escape(text))


def braille(character: str) -> str:
    # From the lowest bit on: three dots on the left, three on the right, then the lowest of either side.
    places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]
    dots = [place for bit, place in enumerate(places) if ord(character) >> bit & 1]
    circles = "".join(f'<circle cx="{4 * x + 2}" cy="{4 * y + 2}" r="1.5"/>' for x, y in dots)
    return f'<svg viewBox="0 0 8 16" preserveAspectRatio="none">{circles}</svg>'


class Camera:
    def __init__(self, browser: Browser, folder: pathlib.Path):
        self.browser, self.folder = browser, folder
        folder.mkdir(parents=True, exist_ok=True)

    def keep(self, name: str, png: bytes) -> None:
        """With 256 colours: a fifth of the bytes, and no difference to the eye."""
        picture = Image.open(io.BytesIO(png))
        # Of these two the first keeps rare colours, and the second transparent corners.
        method = Image.Quantize.MAXCOVERAGE if picture.mode == "RGB" else Image.Quantize.FASTOCTREE
        few = picture.quantize(256, method=method, dither=Image.Dither.NONE)
        few.save(self.folder / f"{name}.png", optimize=True)

    def take_window(self, name: str, lines: list[str], line_height: int) -> None:
        """A picture of a terminal's window. Lines of a box join at a line height of 16 pixels."""
        text = "\n".join(lines)
        for private in (socket.gethostname(), str(pathlib.Path.cwd()), str(pathlib.Path.home()), tempfile.gettempdir()):
            if re.search(rf"(?<!\w){re.escape(private)}(?!\w)", text):
                fail(f"the picture `{name}` would show `{private}`", "mend what the command prints, or leave the picture out by --only")
        page = self.browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.set_content(f'<style>{STYLE}</style><div id="window"><pre style="line-height: {line_height}px">{text}</pre></div>')
        devtools = page.context.new_cdp_session(page)
        devtools.send("DOM.enable")
        devtools.send("CSS.enable")
        root = devtools.send("DOM.getDocument")["root"]["nodeId"]
        node = devtools.send("DOM.querySelector", {"nodeId": root, "selector": "pre"})["nodeId"]
        fonts = {font["familyName"] for font in devtools.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]}
        if fonts != {FONT}:
            fail(f"`{name}` would be drawn in {' and '.join(sorted(fonts))} instead of {FONT}", "install the package fonts-dejavu-core")
        self.keep(name, page.locator("#window").screenshot(omit_background=True))
        page.close()

    def take_dashboard(self, file: pathlib.Path, experiments: list[str]) -> None:
        """The curves of these experiments with the table of runs, and what was found in the first of them."""
        edge, width = 16, DASHBOARD_WIDTH
        columns = "[...document.querySelectorAll('#runs th')].map(cell => cell.getBoundingClientRect().right)"
        last_row = f"[...document.querySelectorAll('#runs tr')].slice(0, {DASHBOARD_ROWS + 1}).at(-1).getBoundingClientRect().bottom"
        # The table may be wider than the window. Once it is known which columns that holds whole, it is made as wide as they are.
        for is_last in (False, True):
            page = self.browser.new_page(viewport={"width": width, "height": 1000}, device_scale_factor=WIDTH / width)
            page.set_default_timeout(120_000)  # Of milliseconds: a busy machine is no reason to fail.
            page.goto(file.as_uri())
            page.wait_for_function("Number(document.querySelector('#chart canvas').dataset.curves) > 0")
            page.click("#runs th button:text-is('experiment')")
            page.click("#none")
            for experiment in experiments:
                page.click(f"#lineage button:text-is('{experiment}')")
            page.evaluate("scrollTo(0, 0)")
            if not is_last:
                width = round(max(right for right in page.evaluate(columns) if right <= width - edge)) + edge
                page.close()
        page.set_viewport_size({"width": width, "height": round(page.evaluate(last_row))})
        chart = page.locator("#chart canvas").bounding_box()
        assert chart
        top = chart["y"] + 12
        # What is worth seeing of a curve of training is its end.
        page.mouse.move(chart["x"] + 0.4 * chart["width"], top)
        page.mouse.down()
        page.mouse.move(chart["x"] + chart["width"] - 1, top)
        page.mouse.up()
        page.mouse.move(chart["x"] + 0.49 * chart["width"], top)
        self.keep("dashboard", page.screenshot())

        page.locator("#findings > details summary").first.click()
        page.locator("#findings > details li summary").first.click()
        heading = page.locator("h2:text-is('Diagnoses')").bounding_box()
        findings = page.locator("#findings > details").first.bounding_box()
        assert heading and findings
        clip = {"x": 0, "width": width, "y": page.evaluate("scrollY") + heading["y"] - edge}
        clip["height"] = findings["y"] + findings["height"] - heading["y"] + 2 * edge
        self.keep("dashboard-diagnoses", page.screenshot(clip=clip, full_page=True))
        page.close()


def take_command(camera: Camera, harness: str, arguments: list[str]) -> None:
    """What a command prints, the command above it."""
    command = shlex.join(["harness", *arguments])
    with Terminal([harness, *arguments], pathlib.Path.cwd(), lines=2000) as terminal:
        code, lines = terminal.wait(), terminal.lines()
    # An audit ends with 3 where something is missing, as checkpoints are in a clone.
    if code not in (0, 3):
        fail(f"`{command}` ended with {code}", "it says why; --only names other pictures to make")
    if (beyond := len(lines) - LINES) > 0:
        note = f'<span class="left-out">… {beyond} lines left out</span>'
        lines = [note, *lines[beyond:]] if arguments[0] == "audit" else [*lines[:LINES], note]
    typed = f'<span class="prompt">$</span> <span class="typed">{html.escape(command)}</span>'
    camera.take_window(arguments[0], [typed, *lines], line_height=18)


def take_watch(camera: Camera, harness: str, experiment: str) -> None:
    """A run while it goes on, in a clone that is thrown away with it."""
    root = pathlib.Path(git("rev-parse", "--show-toplevel"))
    with tempfile.TemporaryDirectory() as folder:
        clone, log = pathlib.Path(folder) / "clone", pathlib.Path(folder) / "log"
        git("clone", "--quiet", "--shared", str(root), str(clone))
        (clone / ".harness").mkdir()
        # What is prepared is not prepared again.
        for store in ("corpora", "tasks", "downloads"):
            if (root / ".harness" / store).is_dir():
                (clone / ".harness" / store).symlink_to(root / ".harness" / store)
        runs = clone / "experiments" / experiment / "runs"
        shutil.rmtree(runs, ignore_errors=True)
        reason = "thrown away after its picture"
        command = [harness, "run", experiment, "--allow-dirty", "--allow-stale", "--over-budget", reason]
        with log.open("wb") as printed:
            run = subprocess.Popen(command, cwd=clone, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed)

        def check_that_it_goes_on() -> None:
            if run.poll() is not None:
                fail(f"the run of {experiment} ended before its picture: {log.read_text()[-1000:]}", "--watch names another experiment")

        try:
            while not list(runs.glob("[0-9]*/steps.csv")):
                check_that_it_goes_on()
                time.sleep(0.2)
            with Terminal([harness, "watch", experiment], clone, WATCHED_LINES) as terminal:
                while terminal.read(wait_s=1.0):
                    check_that_it_goes_on()
                    step = re.search(r"step (\d+) of (\d+)", "\n".join(terminal.screen.display))
                    if step and int(step[1]) >= WATCHED_SHARE * int(step[2]):
                        break
                else:
                    fail(f"`harness watch {experiment}` ended before its picture", "try that command while the experiment is run")
                lines = terminal.lines()
        finally:
            # The first asks for a last checkpoint, the second for none.
            for _ in range(2):
                with contextlib.suppress(ProcessLookupError):
                    run.send_signal(signal.SIGINT)
                time.sleep(0.5)
            run.wait()
        camera.take_window("watch", lines, line_height=16)


def choose(harness: str, named: str | None) -> tuple[str, str]:
    """A change with an effect, that of this name or what was adopted first, and what it is held against."""
    tree = json.loads(subprocess.run([harness, "tree", "--json"], check=True, stdout=subprocess.PIPE).stdout)
    changes: list[dict[str, Any]] = [row for row in tree["experiments"] if row["effect"] and named in (None, row["experiment"])]
    if not changes:
        fail(f"there are no runs of {named or 'any change'} and of its baseline", "`harness tree` shows them; --only leaves pictures out")
    change = min(changes, key=lambda row: row["outcome"] != "adopted")
    return change["experiment"], change["against"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("chromium")
    parser.add_argument("harness")
    parser.add_argument("folder", type=pathlib.Path, help="where the pictures go")
    parser.add_argument("--change", metavar="NAME", help="what is compared and decided [default: what was adopted first]")
    parser.add_argument("--baseline", metavar="NAME", help="what it is compared with [default: what it was held against]")
    parser.add_argument("--watch", metavar="NAME", help="what is run, and watched [default: the baseline]")
    parser.add_argument("--only", nargs="+", choices=PICTURES, help="make these alone")
    arguments = parser.parse_args()
    # So that the run to be watched is stopped even then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    harness = shutil.which(arguments.harness)
    if harness is None:
        fail(f"there is no program `{arguments.harness}`", "`make build` builds it")
    harness = str(pathlib.Path(harness).resolve())
    wanted = set(arguments.only or PICTURES)
    change, baseline, watched = arguments.change, arguments.baseline, arguments.watch
    if wanted & {"compare", "decide", "dashboard"} or ("watch" in wanted and not watched):
        change, against = choose(harness, change)
        baseline = baseline or against
        watched = watched or baseline
    fonts = pathlib.Path(os.environ.get("HARNESS_TOOLS", ".tools")).resolve() / "fonts"
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        fonts_of_browser = pathlib.Path(scratch) / "fonts.conf"
        fonts_of_browser.write_text(FONTS.format(folder=html.escape(str(fonts))))
        # No sandbox: containers and root have none, and the pages are our own.
        browser = playwright.chromium.launch(
            executable_path=arguments.chromium,
            args=["--no-sandbox"],
            env={**os.environ, "FONTCONFIG_FILE": str(fonts_of_browser)},
        )
        camera = Camera(browser, arguments.folder)
        for command in (["tree"], ["compare", baseline, change], ["decide", change], ["next"], ["audit"]):
            if command[0] in wanted:
                take_command(camera, harness, command)
        if "dashboard" in wanted:
            file = pathlib.Path(scratch) / "dashboard.html"
            subprocess.run([harness, "dashboard", "--out", str(file)], check=True, stdout=subprocess.DEVNULL)
            camera.take_dashboard(file, [baseline, change])
        if "watch" in wanted:
            take_watch(camera, harness, watched)
        browser.close()


if __name__ == "__main__":
    main()
