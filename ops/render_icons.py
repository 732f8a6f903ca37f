"""`python -m ops.render_icons`: draws the app's icons from appPackage/icons-src with the Chromium of this machine."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from ops.chromium import chromium

APP_PACKAGE = Path(__file__).resolve().parents[1] / "appPackage"
SIZES = {"color": 192, "color32x32": 32, "outline": 32}
# The alpha of every pixel, as Chromium's canvas has it: a screenshot would round the colours.
PIXELS = """async ([svg, size]) => {
  const image = new Image();
  image.src = 'data:image/svg+xml;base64,' + btoa(svg);
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = size;
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0, size, size);
  return Array.from(context.getImageData(0, 0, size, size).data);
}"""


def white(pixels: bytes) -> bytes:
    """The same shape in nothing but white: half-transparent edges come out a shade darker."""
    return b"".join(b"\xff\xff\xff" + pixels[at + 3 : at + 4] for at in range(0, len(pixels), 4))


def main() -> int:
    program = chromium()
    if program is None:
        print("There is no Chromium on the PATH to draw with.", file=sys.stderr)
        return 1
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        for name, size in SIZES.items():
            svg = (APP_PACKAGE / "icons-src" / f"{name}.svg").read_text(encoding="utf-8")
            pixels = bytes(page.evaluate(PIXELS, [svg, size]))
            drawn = Image.frombytes("RGBA", (size, size), white(pixels) if name == "outline" else pixels)
            drawn.save(APP_PACKAGE / f"{name}.png", optimize=True)
            print(f"appPackage/{name}.png, {size} x {size}")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
