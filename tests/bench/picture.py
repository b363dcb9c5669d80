"""figures.svg: bytes over checkpoints, ckptfs beside its peers, one small chart a class.

    picture.py RESULTS.json FIGURES.svg

Light and dark follow the reader's browser; the text is text, so that it can be selected and found.
"""
import html
import json
import sys

STYLE = """
svg { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; background: var(--paper); }
:root { --paper: #ffffff; --ink: #1c2128; --soft: #6b7480; --line: #d8dde3; --raw: #b6bec8; --us: #0b6bcb; --peer: #d07a1f; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14181d; --ink: #e8ecf0; --soft: #98a3af; --line: #2d353e; --raw: #4b5661; --us: #58a6ff; --peer: #f0a04b; } }
.paper { fill: var(--paper); } text { fill: var(--ink); } .soft { fill: var(--soft); font-size: 11px; }
.title { font-weight: 600; font-size: 13px; } .head { font-weight: 650; font-size: 17px; }
.axis { stroke: var(--line); } .raw { stroke: var(--raw); stroke-dasharray: 4 3; } .us { stroke: var(--us); stroke-width: 2.5; }
.peer { stroke: var(--peer); stroke-width: 1.5; } .line { fill: none; } .dot { fill: var(--us); }
.n-us { fill: var(--us); font-weight: 600; } .n-peer { fill: var(--peer); } .n-raw { fill: var(--soft); }
"""
WIDE, HIGH, COLUMNS = 300, 190, 3
PLOT = (44, 34, 160, 118)  # left, top, width, height of what is drawn in a cell


def best_peer(row):
    """(name, bytes after each step) of the peer with the fewest bytes at the end; None where none ran."""
    ran = [(p["stored"][-1], name, p["stored"]) for name, p in row["peers"].items() if "stored" in p]
    return min(ran)[1:] if ran else None


def short(n):
    for unit in ("B", "KB", "MB", "GB"):
        if n < 1000 or unit == "GB":
            return "%.3g %s" % (n, unit)
        n /= 1000


def path(values, top):
    left, up, wide, high = PLOT
    step = wide / max(1, len(values) - 1)
    points = [(left + i * step, up + high - high * v / top) for i, v in enumerate(values)]
    if len(points) == 1:
        points.append((left + wide, points[0][1]))
    return "M" + " L".join("%.1f %.1f" % p for p in points), points[-1]


def spread(labels):
    """Moves labels apart that would lie on one another; from the top down."""
    labels.sort()
    for i in range(1, len(labels)):
        labels[i][0] = max(labels[i][0], labels[i - 1][0] + 14)
    return labels


def cell(row, x, y):
    left, up, wide, high = PLOT
    top = max(row["raw"]) * 1.02
    peer = best_peer(row)
    out = ['<g transform="translate(%d %d)">' % (x, y),
           '<text class="title" x="8" y="18">%s</text>' % html.escape(row["title"]),
           '<path class="axis line" d="M%d %d V%d H%d"/>' % (left, up, up + high, left + wide),
           '<text class="soft" x="%d" y="%d" text-anchor="end">%s</text>' % (left - 5, up + 9, short(top / 1.02)),
           '<text class="soft" x="%d" y="%d" text-anchor="end">0</text>' % (left - 5, up + high + 4)]
    labels = []
    for kind, name, values in (("raw", "raw", row["raw"]), ("peer", *(peer or ("", None))), ("us", "ckptfs", row["stored"])):
        if values is None:
            continue
        d, end = path(values, top)
        out.append('<path class="line %s" d="%s"/>' % (kind, d))
        if kind == "us":
            out.append('<circle class="dot" cx="%.1f" cy="%.1f" r="3"/>' % end)
        text = name if kind == "raw" else "%s %.3g" % (name.replace(" --patch-from", " patch"), values[-1] / row["raw"][-1])
        labels.append([end[1] + 4, kind, text])
    for at, kind, text in spread(labels):
        out.append('<text class="n-%s" x="%d" y="%.1f">%s</text>' % (kind, left + wide + 8, at, html.escape(text)))
    out.append('<text class="soft" x="%d" y="%d">%d checkpoint%s</text>' % (
        left, up + high + 16, len(row["raw"]), "" if len(row["raw"]) == 1 else "s"))
    out.append("</g>")
    return out


def draw(rows):
    """The text of the SVG, for rows of space.py."""
    rows = [r for r in rows if len(r["raw"]) > 1 or r["peers"]]
    lines = -(-len(rows) // COLUMNS)
    wide, high = WIDE * COLUMNS + 20, HIGH * lines + 52
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" '
           'aria-label="Bytes stored over checkpoints">' % (wide, high, wide, high),
           "<style>%s</style>" % STYLE, '<rect class="paper" width="%d" height="%d"/>' % (wide, high),
           '<text class="head" x="18" y="30">Bytes stored over checkpoints: ckptfs, the best peer, raw</text>']
    for i, row in enumerate(rows):
        out += cell(row, 10 + WIDE * (i % COLUMNS), 44 + HIGH * (i // COLUMNS))
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    with open(sys.argv[1]) as f:
        rows = json.load(f)["space"]
    with open(sys.argv[2], "w") as f:
        f.write(draw(rows))


if __name__ == "__main__":
    main()
