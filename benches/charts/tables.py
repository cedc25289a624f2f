"""The tables and sentences of the pages that hold figures, as Markdown: text and measurement cannot drift apart."""

import textwrap

import figures
from figures import CPU
from svg import short

MISSED = "**missed**"


def all_of(side, scaling, elsewhere=None):
    """{name: Markdown}, for `<!-- table: NAME -->`. `elsewhere`: what `side` is, on another machine."""
    found = {
        "machine": machine(side, scaling),
        "cpu": cpu(side),
        "ratios": ratios(side),
        "elsewhere": beside_elsewhere(side, elsewhere),
        "figures": demanded_figures(side),
        "ahead": ahead(side),
        "memory": memory(side),
        "in-short": in_short(side),
        "sentence": sentence(side),
    }
    for name, curve in (scaling or {"curves": {}})["curves"].items():
        found[f"scaling-{name}"] = scaled(curve)
    return found


def table(heads, rows):
    if not rows:
        return "Not measured."
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def wrapped(text):
    return textwrap.fill(text, 120, break_on_hyphens=False, break_long_words=False)


def both(figure):
    return f"{short(figure['median'])} ({short(figure['best'])})"


def machine(side, scaling):
    at = side["machine"]
    versions = {**(scaling or {"versions": {}})["versions"], **side["versions"]}
    text = (
        f"{at['cores']} {'virtual ' if at['virtual'] else ''}cores of an {processor(side)}, Linux "
        f"{at['kernel'].split('-')[0]}; "
        + ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
        + f". {side['rounds']} rounds of {short(side['seconds'])} s for each contestant"
    )
    if scaling:
        text += f"; the curves: {scaling['rounds']} rounds of {short(scaling['seconds'])} s for each point"
    text += "."
    noisy = sum(row["visits"] - row["quiet"] for row in side["summary"].values())
    visits = sum(row["visits"] for row in side["summary"].values())
    if noisy:
        text += f" {noisy} of {visits} visits were noisy; they are left out where at least two quiet ones remain."
    skipped = side.get("skipped", {})
    return wrapped(text + (" Not measured: " + ", ".join(sorted(skipped)) + "." if skipped else ""))


def cpu(side):
    rows = []
    for name, row in side["summary"].items():
        start = row.get("start_ms")
        rows.append(
            [
                name,
                both(row[CPU]),
                short(row["per_second"]["median"]),
                short(row["p50_us"]["median"]),
                short(row["p99_us"]["median"]),
                f"{row['idle_kib'] / 1024:.1f}",
                f"{start['median']:.1f} ({start['min']:.1f})" if start else "",
            ]
        )
    return table(
        [
            "contestant",
            "CPU µs/request, median (best)",
            "requests/s",
            "p50 µs",
            "p99 µs",
            "idle MiB",
            "start to first 200, ms",
        ],
        rows,
    ) + said_about(side)


def said_about(side):
    about = {name: text for name, text in side.get("about", {}).items() if name in side["summary"] and text}
    return "".join(
        f"\n{'' if number else chr(10)}- {name}: {text}" for number, (name, text) in enumerate(about.items())
    )


def ratios(side):
    return (
        table(
            ["CPU time over CPU time", "median", "best", "must", "aim", ""],
            [
                [row["name"], short(row["median"]), short(row["best"]), *demand(row)]
                for row in side["ratios"]
                if row.get("must")
            ],
        )
        + "\n\nOf interest only:\n\n"
        + table(
            ["", "median", "best"],
            [[row["name"], short(row["median"]), short(row["best"])] for row in side["ratios"] if not row.get("must")],
        )
    )


def beside_elsewhere(side, elsewhere):
    """What must hold, here and on another machine."""
    if elsewhere is None:
        return "Not measured."
    there = {row["name"]: row for row in elsewhere["ratios"]}
    rows = [
        [row["name"], short(row["must"]), *(f"{both(one)}{missed(one)}" for one in (row, there[row["name"]]))]
        for row in side["ratios"]
        if row.get("must") and row["name"] in there
    ]
    heads = ["CPU time over CPU time, median (best)", "must", *(processor(one) for one in (side, elsewhere))]
    return f"{table(heads, rows)}\n\n{machine(elsewhere, None)}"


def missed(row):
    return f" {MISSED}" if demand(row)[-1] == MISSED else ""


def processor(side):
    return side["machine"]["cpu"].replace("(R)", "")


def ahead(side):
    """Where sidegate is not: what is above one, beside a peer."""
    found = [
        f"{row['name']} ({short(row['median'])})"
        for row in side["ratios"]
        if row["median"] > 1 and not row["of"][1].startswith("sidegate")
    ]
    return wrapped(f"A peer is ahead in: {', '.join(found)}." if found else "In this run no peer was ahead anywhere.")


def demanded_figures(side):
    return table(
        ["figure", "median", "best", "must", "aim", ""],
        [
            [f"{row['name']}, {row['unit']}", short(row["median"]), short(row["best"]), *demand(row)]
            for row in side.get("figures", [])
            if row.get("must")
        ],
    )


def demand(row):
    if not row.get("must"):
        return ["", "", ""]
    within = [bound is not None and max(row["median"], row["best"]) <= bound for bound in (row["must"], row.get("aim"))]
    return [
        short(row["must"]),
        short(row["aim"]) if row.get("aim") else "",
        "aim reached" if within[1] else "holds" if within[0] else MISSED,
    ]


def memory(side):
    """For each thing that can be many."""
    rows = [[f"a cached RS256 token, `{row['credential']}`", short(row["kib_per_token"])] for row in side["memory"]]
    rows += [
        [
            f"one of {row['connections']:,} idle connections, {row['name']}, {'TLS' if row['tls'] else 'cleartext'}",
            short(row["kib_per_connection"]),
        ]
        for row in side.get("connection_memory", [])
    ]
    return table(["", "KiB"], rows)


def in_short(side):
    rows = side["summary"]
    return table(
        ["", "CPU µs/request", "requests/s on one core", "p99 µs", "idle MiB"],
        [
            [
                label,
                both(rows[name][CPU]),
                short(rows[name]["per_second"]["median"]),
                short(rows[name]["p99_us"]["median"]),
                f"{rows[name]['idle_kib'] / 1024:.1f}",
            ]
            for name, label in figures.IN_SHORT
            if name in rows
        ],
    )


def sentence(side):
    """What the README says."""
    rows = side["summary"]
    asked = ("sidegate auth 50k", "nginx", "envoy cache 50k", "haproxy RS256")
    if not set(asked) <= rows.keys():
        return ""
    own, bare, envoy, haproxy = (rows[name][CPU]["median"] for name in asked)
    return wrapped(
        f"An authenticated request with one of 50,000 tokens costs {own:.0f} µs of CPU on a small virtual machine: "
        f"{own / bare:.2f} times what nginx needs to forward it without asking anybody, {own / envoy:.2f} times what "
        f"Envoy needs to look its token up in a cache, and {own / haproxy:.2f} times what HAProxy needs to verify it."
    )


def scaled(curve):
    """A row for each place on the curve, the series side by side."""
    bodies, workers = curve["unit"] == "bytes", curve["unit"] == "workers"
    series = curve["series"]
    if not series:
        return "Not measured."
    one = len(series) == 1
    heads = ["body" if bodies else curve["unit"]]
    heads += ["CPU µs/request, median (best)"] if one else [f"{name}, µs (best)" for name in series]
    heads += [f"{name}, µs/MiB" for name in series] if bodies else []
    heads += [f"{name}, requests/s" for name in series] if not one else ["requests/s"]
    heads += [f"{name}, workers busy at" for name in series] if workers else []
    heads += [f"{name}, MiB" for name in series] if not (one or workers or bodies) else ["MiB"] if one else []
    rows = []
    for x in sorted({row["x"] for points in series.values() for row in points}):
        here = [next((row for row in points if row["x"] == x), None) for points in series.values()]

        def cells(figure, here=here):
            return [figure(row) if row else "" for row in here]

        found = [figures.lines.bytes_of(x) if bodies else f"{x:,}", *cells(lambda row: both(row[CPU]))]
        found += cells(lambda row: per_mib(row)) if bodies else []
        found += cells(lambda row: short(row["per_second"]["median"]))
        found += cells(lambda row: f"{row['x'] * 1e6 / row[CPU]['median']:,.0f}") if workers else []
        found += cells(lambda row: f"{row['after_kib'] / 1024:.1f}") if not (workers or bodies) else []
        rows.append(found)
    return table(heads, rows) + per_thing(curve)


def per_mib(row):
    x = row["x"]
    return short(row[CPU]["median"] * (1 << 20) / x) if x >= 128 << 10 else ""


def per_thing(curve):
    """What one more of them weighs, from the first point to the last."""
    if curve["unit"] not in ("connections", "tokens"):
        return ""
    said = []
    for name, points in curve["series"].items():
        first, last = points[0], points[-1]
        if last["x"] > first["x"]:
            weight = (last["after_kib"] - first["after_kib"]) / (last["x"] - first["x"])
            said.append(f"{name}: {short(weight)} KiB")
    return f"\n\nMemory for each of the {curve['unit']}, from the first point to the last: " + "; ".join(said) + "."
