"""The icons of the app package: there, of the right size, and the outline in nothing but white."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from ops.check.document import Document, UnreadableDocumentError
from ops.check.problem import Problem

MANIFEST = "appPackage/manifest.json"
# https://learn.microsoft.com/microsoftteams/platform/concepts/build-and-test/apps-package#app-icons
SIZES = {"color": 192, "outline": 32, "color32x32": 32}
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGBA = 6


class NotAnImageError(Exception):
    """`str()` says what is wrong with the file."""


@dataclass(frozen=True, slots=True)
class Image:
    """`pixels` has one (red, green, blue, alpha) for each, from the top left."""

    width: int
    height: int
    pixels: tuple[tuple[int, int, int, int], ...]


def check_icons(root: Path) -> list[Problem]:
    try:
        manifest = Document.read(root, MANIFEST)
    except UnreadableDocumentError as unreadable:
        return [unreadable.problem]
    icons = manifest.value.get("icons") if isinstance(manifest.value, dict) else None
    if not isinstance(icons, dict):
        return [manifest.problem("the manifest has no icons", "icons")]
    return [
        manifest.problem(sentence, "icons", kind)
        for kind, size in SIZES.items()
        if isinstance(name := icons.get(kind), str)
        for sentence in _objections(root / "appPackage" / name, name, kind, size)
    ]


def _objections(path: Path, name: str, kind: str, size: int) -> list[str]:
    try:
        image = read_png(path.read_bytes())
    except OSError:
        return [f"icons.{kind}: appPackage/{name} is missing"]
    except NotAnImageError as error:
        return [f"icons.{kind}: appPackage/{name} {error}"]
    if (image.width, image.height) != (size, size):
        return [f"icons.{kind}: appPackage/{name} is {image.width} x {image.height} pixels, not {size} x {size}"]
    transparent = any(alpha < 255 for *_, alpha in image.pixels)
    if kind == "color" and transparent:
        return [f"icons.{kind}: appPackage/{name} is transparent in places; it must fill the whole square"]
    if kind == "outline" and any(alpha and rgb != [255, 255, 255] for *rgb, alpha in image.pixels):
        return [f"icons.{kind}: appPackage/{name} has other colours than white and transparent"]
    if kind != "color" and not transparent:
        return [f"icons.{kind}: appPackage/{name} has no transparent background"]
    return []


def read_png(data: bytes) -> Image:
    """Truecolour with alpha, 8 bits a channel, not interlaced: how the icons are drawn. Raises `NotAnImageError`."""
    if not data.startswith(_SIGNATURE):
        raise NotAnImageError("is not a PNG file")
    try:
        chunks = list(_chunks(data))
        width, height, depth, colours, _, _, interlaced = struct.unpack(">IIBBBBB", dict(chunks)[b"IHDR"])
        if (depth, colours, interlaced) != (8, _RGBA, 0):
            raise NotAnImageError(
                "is a PNG file, but not one with 8 bits for each of red, green, blue and alpha, not interlaced"
            )
        lines = zlib.decompress(b"".join(content for kind, content in chunks if kind == b"IDAT"))
        if len(lines) != height * (width * 4 + 1):
            raise NotAnImageError("is a damaged PNG file")
    except (struct.error, KeyError, zlib.error):
        raise NotAnImageError("is a damaged PNG file") from None
    values = iter(_unfiltered(lines, width * 4))
    return Image(width, height, tuple(zip(values, values, values, values, strict=True)))


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], len(_SIGNATURE)
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        found.append((kind, content))
        at += length + 12
    return found


def _unfiltered(lines: bytes, stride: int) -> bytes:
    """https://www.w3.org/TR/png/#9Filters, with four bytes a pixel."""
    image, above = bytearray(), bytearray(stride)
    for start in range(0, len(lines), stride + 1):
        kind, line = lines[start], bytearray(lines[start + 1 : start + 1 + stride])
        for index in range(stride):
            left = line[index - 4] if index >= 4 else 0
            corner = above[index - 4] if index >= 4 else 0
            line[index] = (line[index] + _predicted(kind, left, above[index], corner)) & 0xFF
        image += line
        above = line
    return bytes(image)


def _predicted(kind: int, left: int, up: int, corner: int) -> int:
    match kind:
        case 0:
            return 0
        case 1:
            return left
        case 2:
            return up
        case 3:
            return (left + up) // 2
        case 4:
            guess = left + up - corner
            return min((left, up, corner), key=lambda candidate: abs(guess - candidate))
    raise NotAnImageError("is a damaged PNG file")
