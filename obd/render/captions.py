"""The text on a video's panels, drawn with the font that Pillow carries."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from obd.render.scene import Colour, Image, parse_colour

BAR: Colour = (30, 35, 44)
BAR_TEXT: Colour = (244, 246, 250)
MUTED: Colour = (178, 187, 200)
DIMMED = 0.45  # brightness of an ended episode

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=32)
def font(size: int) -> Font:
    """Pillow's built-in font at ``size`` pixels."""
    return ImageFont.load_default(size)


def bar_height(height: int) -> int:
    """Pixels of the caption bar over a picture of ``height`` pixels; even."""
    return 2 * round(max(22, 0.12 * height) / 2)


def shorten(text: str, width: float, face: Font) -> str:
    """``text`` cut with an ellipsis to fit ``width`` pixels."""
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def marker(
    draw: ImageDraw.ImageDraw, centre: tuple[float, float], side: float, symbol: str, colour: str, back: Colour = BAR
) -> None:
    """A policy's symbol in its colour: triangle, or (empty)Rect, Circle, Diamond by ECharts' names, ``side`` high."""
    fill, (x, y), half = parse_colour(colour), centre, side / 2
    box = (x - half, y - half, x + half, y + half)
    inner = (x - 0.45 * half, y - 0.45 * half, x + 0.45 * half, y + 0.45 * half)
    if symbol.lower().endswith("circle"):
        draw.ellipse(box, fill=fill)
        if symbol.startswith("empty"):
            draw.ellipse(inner, fill=back)
    elif symbol == "triangle":
        draw.polygon([(x, y - half), (x + half, y + half), (x - half, y + half)], fill=fill)
    elif symbol.lower().endswith("diamond"):
        for reach, paint in ((half, fill), (0.5 * half, back)) if symbol.startswith("empty") else ((half, fill),):
            draw.polygon([(x, y - reach), (x + reach, y), (x, y + reach), (x - reach, y)], fill=paint)
    else:
        draw.rectangle(box, fill=fill)
        if symbol.startswith("empty"):
            draw.rectangle(inner, fill=back)


def caption_bar(width: int, height: int, title: str, colour: str, score: str, symbol: str = "rect") -> Image:
    """``[height, width, 3]``: the policy's symbol, its title and, on the right, the score."""
    bar = PillowImage.new("RGB", (width, height), BAR)
    draw = ImageDraw.Draw(bar)
    face = font(round(height * 0.52))
    gap = round(height * 0.3)
    side = round(height * 0.42)
    marker(draw, (gap + side / 2, height / 2), side, symbol, colour)
    right = width - gap
    if score:
        score = shorten(score, 0.5 * width, face)
        draw.text((right, height / 2), score, font=face, fill=MUTED, anchor="rm")
        right -= round(face.getlength(score)) + gap
    left = 2 * gap + side
    draw.text((left, height / 2), shorten(title, right - left, face), font=face, fill=BAR_TEXT, anchor="lm")
    return np.asarray(bar)


def overlay(picture: Image, left: str, right: str) -> Image:
    """``picture`` with a line of text in both upper corners."""
    height, width = picture.shape[:2]
    size = max(11, round(height * 0.058))
    face, margin = font(size), round(size * 0.55)
    rows = min(height, 2 * margin + round(1.2 * size))
    strip = PillowImage.fromarray(picture[:rows])  # converting the whole picture would take longer than the text
    draw = ImageDraw.Draw(strip)
    draw.text((margin, margin), left, font=face, fill=BAR, anchor="la")
    draw.text((width - margin, margin), right, font=face, fill=BAR, anchor="ra")
    result = picture.copy()
    result[:rows] = np.asarray(strip)
    return result


def ended(picture: Image, text: str) -> Image:
    """``picture`` dimmed, with ``text`` across its middle."""
    image = PillowImage.fromarray((picture * DIMMED).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    face = font(max(13, round(image.height * 0.085)))
    draw.text(
        (image.width / 2, image.height / 2),
        shorten(text, image.width * 0.94, face),
        font=face,
        fill=BAR_TEXT,
        anchor="mm",
        stroke_width=2,
        stroke_fill=BAR,
    )
    return np.asarray(image)
