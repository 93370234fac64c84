# SPDX-License-Identifier: Apache-2.0
"""A line of text for PP-OCRv4 rec: rendered with PIL; the answer decoded with the model's own characters."""
import numpy as np

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
HEIGHT = 48


def render(text, size_px=32):
    """A strip of 48 rows: black on white, uint8 [48, W, 3]."""
    from PIL import Image, ImageDraw, ImageFont
    font = ImageFont.truetype(FONT, size_px)
    width = int(font.getlength(text)) + 24
    image = Image.new("RGB", (width, HEIGHT), "white")
    ImageDraw.Draw(image).text((12, 4), text, font=font, fill="black")
    return np.asarray(image)


def to_input(pixels):
    """float32 [1, 3, 48, W], blue first, -1 to 1."""
    x = pixels[:, :, ::-1].astype(np.float32) / 255.0
    return ((x - 0.5) / 0.5).transpose(2, 0, 1)[None].copy()


def characters(metadata_value):
    """The list of the file's metadata ("character"), one a line; class 0 is the blank, the last one a space."""
    return [""] + metadata_value.split("\n") + [" "]


def decode(scores, chars):
    """CTC: the best class of each step, repeats and blanks dropped. scores: [T, classes]."""
    best = scores.argmax(axis=-1)
    kept = [c for i, c in enumerate(best) if c != 0 and (i == 0 or c != best[i - 1])]
    return "".join(chars[c] if c < len(chars) else "?" for c in kept).strip()


def confidence(scores):
    best = scores.argmax(axis=-1)
    hits = scores.max(axis=-1)[best != 0]
    return float(hits.mean()) if len(hits) else 0.0
