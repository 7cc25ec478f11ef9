# SPDX-License-Identifier: MIT
"""Bar charts as SVG."""
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 820, 190, 70, 11, 8, 58
COLOURS = ["#888888", "#1f6fb4", "#e08214", "#5aae61", "#1f6fb4", "#e08214", "#5aae61"]


def _text(x, y, words, anchor="start", size=11):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'


def _rect(x, y, width, colour):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR - 1}" fill="{colour}"/>'


def bars(title, values, labels):
    """values: {row: {candidate: number or None}}; one bar for each, rows from the top. The text of an SVG file."""
    names = list(labels)
    top = max((v for row in values.values() for v in row.values() if v is not None), default=0) or 1
    scale = (WIDTH - LEFT - RIGHT) / top
    out, x, y = [_text(LEFT, 20, title, size=14)], LEFT, TOP
    for name, colour in zip(names, COLOURS):
        out += [_rect(x, 32, 12, colour), _text(x + 16, 41, labels[name])]
        x += 30 + 7 * len(labels[name])
    for row, got in values.items():
        out.append(_text(LEFT - 8, y + BAR * len(names) / 2 + 4, row, "end"))
        for name, colour in zip(names, COLOURS):
            value = got.get(name)
            if value is not None:
                out += [_rect(LEFT, y, value * scale, colour), _text(LEFT + value * scale + 4, y + 9, f"{value:,.4g}", size=9)]
            y += BAR
        y += GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" font-family="sans-serif">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{y}" fill="white"/>', *out, "</svg>"]) + "\n"
