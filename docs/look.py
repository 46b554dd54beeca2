"""Look at the built site in headless Chromium: `make docs look`.

Every page is opened at the width of a telephone and of a screen, light and dark. What is looked for: text that runs out
of the page or is cut, pictures that do not show, errors in the browser's console. Then a word is typed into the search
box. Formulas need MathJax, which the site loads from another host; `--mathjax FOLDER` serves it from an unpacked npm
package instead.
"""

import argparse
import functools
import shutil
import sys
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import sync_playwright

HTML = Path(__file__).parent / "_build" / "html"
WIDTHS = (375, 1280)
SCHEMES = ("light", "dark")
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
SEARCHED = {"recommend": "recommend", "popularity": "Popularity"}  # what is typed, and what a result's title has

# Text may be wider than the screen only within something that scrolls.
OVERFLOW = """() => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const found = wide > 0 ? [`the page is ${wide} px too wide`] : [];
  const walker = document.createTreeWalker(document.querySelector("main") || document.body, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!node.textContent.trim() || node.parentElement.closest("mjx-assistive-mml, script, style, .visually-hidden"))
      continue;
    range.selectNodeContents(node);
    let edge = document.documentElement.clientWidth, scrolls = false;
    for (let above = node.parentElement; above && !scrolls; above = above.parentElement) {
      const overflow = getComputedStyle(above).overflowX;
      scrolls = overflow === "auto" || overflow === "scroll";
      if (overflow === "hidden" || overflow === "clip") edge = Math.min(edge, above.getBoundingClientRect().right);
    }
    const right = Math.max(...[...range.getClientRects()].map(box => box.right), 0);
    if (!scrolls && right > edge + 1)
      found.push(`${Math.round(right - edge)} px of "${node.textContent.trim().slice(0, 60)}" are cut`);
  }
  return found;
}"""

# A picture of one colour shows nothing.
PICTURES = """async () => {
  const found = [];
  for (const image of document.querySelectorAll("main img")) {
    image.loading = "eager";
    await image.decode().catch(() => null);
    const box = image.getBoundingClientRect(), name = image.getAttribute("src");
    if (!image.naturalWidth || box.width < 50 || box.height < 50) { found.push(`${name} does not show`); continue; }
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 200;
    const brush = canvas.getContext("2d");
    brush.fillStyle = getComputedStyle(image).backgroundColor;
    brush.fillRect(0, 0, 200, 200);
    brush.drawImage(image, 0, 0, 200, 200);
    const colours = new Set(new Uint32Array(brush.getImageData(0, 0, 200, 200).data.buffer));
    if (colours.size < 10) found.push(`${name} is empty`);
  }
  return found;
}"""


class Quiet(SimpleHTTPRequestHandler):
    """Serve files without a line for each."""

    def log_message(self, *args):
        """Say nothing."""


@contextmanager
def served(folder):
    """Serve a folder on a free port of this machine; give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        server.handle_error = lambda *_: None  # a page that is left does not wait for the rest of its files
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def opened(browser, address, mathjax, **looks):
    """Return a new page, and the list that its errors go to. Other hosts are not asked."""
    page = browser.new_page(**looks)
    errors = []
    page.on("pageerror", lambda error: errors.append(f"console: {error}"))

    def answer(route):
        url = route.request.url
        file = mathjax and mathjax / url.partition("/mathjax@")[2].partition("/")[2]
        if url.startswith((address, "data:")):
            route.continue_()
        elif file and file.is_file():
            route.fulfill(path=file)
        else:
            route.abort()

    page.route("**/*", answer)
    return page, errors


def look(page, errors, address):
    """Open an address; return what is wrong with it."""
    errors.clear()
    page.goto(address)
    page.wait_for_timeout(50)
    return [*page.evaluate(OVERFLOW), *page.evaluate(PICTURES), *errors]


def search(page, address):
    """Type into the search box, as a reader does, and follow the first result; return what is wrong."""
    found = []
    for typed, title in SEARCHED.items():
        page.goto(f"{address}/index.html")
        page.locator(".search-button__button:visible, .search-button:visible").first.click()
        page.keyboard.type(typed)
        page.keyboard.press("Enter")
        page.wait_for_url("**/search.html?*")
        results = page.locator("#search-results ul.search > li a")
        try:
            results.first.wait_for(timeout=10_000)
            page.wait_for_timeout(1_000)
        except Exception:  # of the driver, with a page of its own words
            found.append(f"search for {typed!r}: no results")
            continue
        titles = results.all_inner_texts()
        print(f"search for {typed!r}: {len(titles)} results: {', '.join(titles[:4])}, ...")
        if not any(title in each for each in titles):
            found.append(f"search for {typed!r}: no result is called {title!r}")
        results.first.click()
        try:
            page.wait_for_url(lambda url: "/search.html" not in url, timeout=10_000)
            page.locator("main h1").first.wait_for(timeout=10_000)
        except Exception:
            found.append(f"search for {typed!r}: the first result leads nowhere")
    return found


def main():
    """Look at all pages; print what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", help="which ones, such as faq.html; default: all")
    parser.add_argument("--html", type=Path, default=HTML, help="the built site; default: docs/_build/html")
    parser.add_argument("--mathjax", type=Path, help="folder of the npm package mathjax, unpacked")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each page")
    options = parser.parse_args()
    pages = options.pages or sorted(path.relative_to(options.html).as_posix() for path in options.html.rglob("*.html"))
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None or not pages:
        print(f"no page in {options.html}: run make docs" if program else f"no {', '.join(PROGRAMS)} on this machine")
        return 2
    wrong = []
    with served(options.html) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS)
        for width in WIDTHS:
            for scheme in SCHEMES:
                size = {"width": width, "height": 800}
                page, errors = opened(browser, address, options.mathjax, viewport=size, color_scheme=scheme)
                for name in pages:
                    where = f"{name}, {width} px, {scheme}: "
                    wrong += [where + said for said in look(page, errors, f"{address}/{name}")]
                    if options.pictures:
                        file = options.pictures / f"{name.replace('/', '-')}-{width}-{scheme}.png"
                        page.screenshot(path=file, full_page=True)
                wrong += [f"{width} px, {scheme}: {said}" for said in search(page, address)]
                page.close()
        browser.close()
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"{len(pages)} pages at {WIDTHS} px, {' and '.join(SCHEMES)}: {len(wrong)} faults")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
