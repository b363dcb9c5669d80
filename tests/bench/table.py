"""The figures as they stand in the README, between <!-- figures --> and <!-- end of figures -->.

    table.py RESULTS.json README.md
"""
import json
import sys

BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"


def number(v):
    return "-" if v is None else "%.4f" % v if v < 0.1 else "%.3f" % v


def space_lines(rows):
    yield "| stored / raw | ckptfs | after recompress | best peer | goal |"
    yield "|---|---|---|---|---|"
    for r in rows:
        ran = sorted((p["ratio"], name) for name, p in r["peers"].items() if "ratio" in p)
        peer = "%s %s" % (number(ran[0][0]), ran[0][1]) if ran else "-"
        goal = number(r["goal"]) + (" (%s)" % number(r["goal_recompressed"]) if r["goal_recompressed"] else "")
        yield "| %s | %s | %s | %s | %s |" % (r["title"], number(r["ratio"]), number(r["recompressed"]), peer, goal)


def speed_lines(results):
    yield "| time, mount / %s | ratio | goal |" % results["filesystem"]["type"]
    yield "|---|---|---|"
    for r in results["rows"]:
        goal = r["final"] if r["final"] is not None else r["goal"]
        yield "| %s | %.2f | %s |" % (r["title"], r["ratio"]["median"], "" if goal is None else "%.4g" % goal)
    yield "| memory of the daemon, at most | %d MiB | %d MiB |" % (
        results["memory"]["peak"] >> 20, results["memory"]["goal"] >> 20)


def view_lines(rows):
    yield "| views | | goal |"
    yield "|---|---|---|"
    for r in rows:
        yield "| %s | %.3g %s | %.3g |" % (r["title"], r["value"], r["unit"], r["goal"])


def table(results):
    parts = []
    if results.get("space"):
        parts.append("\n".join(space_lines(results["space"])))
    if results.get("rows"):
        parts.append("\n".join(speed_lines(results)))
    if results.get("views"):
        parts.append("\n".join(view_lines(results["views"])))
    return "\n\n".join(parts) + "\n"


def main():
    with open(sys.argv[1]) as f:
        results = json.load(f)
    with open(sys.argv[2]) as f:
        text = f.read()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    with open(sys.argv[2], "w") as f:
        f.write(text[:begin] + table(results) + text[end:])


if __name__ == "__main__":
    main()
