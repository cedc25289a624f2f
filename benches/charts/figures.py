"""Which chart shows what: from the documents of side_by_side and of scaling to one SVG each."""

import bars
import lines

CPU = "cpu_us_per_request"

# What a reader may ask, and who answers it: contestant of side_by_side, label.
QUESTIONS = [
    (
        "Forwarding only, no authentication",
        [
            ("sidegate passthrough", "sidegate, public route"),
            ("nginx", "nginx, proxy_pass"),
        ],
    ),
    (
        "A known token",
        [
            ("sidegate auth 1", "sidegate, internal JWT for the upstream"),
            ("sidegate auth 1 original", "sidegate, the token goes on as it is"),
            ("sidegate opaque 1", "sidegate, an opaque token of its own"),
            ("envoy cache 1", "Envoy, jwt_authn with its cache"),
            ("haproxy RS256", "HAProxy, jwt_verify (has no cache), RS256"),
            ("haproxy ES256", "HAProxy, jwt_verify (has no cache), ES256"),
        ],
    ),
    (
        "50,000 known tokens",
        [
            ("sidegate auth 50k", "sidegate, internal JWT for the upstream"),
            ("sidegate auth 50k original", "sidegate, the token goes on as it is"),
            ("envoy cache 50k", "Envoy, jwt_authn with its cache"),
        ],
    ),
    (
        "A token never seen before, RS256",
        [
            ("sidegate miss", "sidegate"),
            ("envoy", "Envoy, jwt_authn without cache"),
            ("haproxy RS256", "HAProxy, jwt_verify"),
        ],
    ),
    (
        "HTTP/2 over TLS, a known token",
        [
            ("sidegate h2 64x1", "sidegate, 64 connections, 1 stream each"),
            ("envoy h2 64x1", "Envoy, 64 connections, 1 stream each"),
            ("sidegate h2 4x16", "sidegate, 4 connections, 16 streams each"),
            ("envoy h2 4x16", "Envoy, 4 connections, 16 streams each"),
        ],
    ),
]
TLS = [
    ("sidegate TLS new", "sidegate, new, X25519"),
    ("nginx TLS new", "nginx, new, X25519"),
    ("sidegate TLS resumed", "sidegate, resumed by a ticket"),
    ("nginx TLS resumed", "nginx, resumed by a ticket"),
    ("sidegate TLS new hybrid", "sidegate, new, X25519MLKEM768"),
]
IN_SHORT = [
    ("sidegate auth 50k", "sidegate, checks each token"),
    ("envoy cache 50k", "Envoy, jwt_authn with its cache"),
    ("haproxy RS256", "HAProxy, jwt_verify"),
    ("nginx", "nginx, forwards without asking"),
]
PACED = [
    ("sidegate auth paced", "sidegate, authenticated"),
    ("sidegate passthrough paced", "sidegate, public route"),
    ("nginx paced", "nginx, proxy_pass"),
]
IDLE = [("sidegate auth 1", "sidegate"), ("nginx", "nginx"), ("haproxy RS256", "HAProxy"), ("envoy cache 1", "Envoy")]
HOW = "Bar: median of the quiet rounds; upright mark: the best of them. Shorter is better."


def all_of(side, scaling):
    """{file: (text for those who do not see it, SVG)}; what was not measured is not there."""
    drawn = {}

    def put(name, alternative, svg):
        if svg:
            drawn[name] = (alternative, svg)

    def asked(wanted, figure=CPU):
        rows = side["summary"]
        return [bar(label, rows[name], figure, name) for name, label in wanted if name in rows]

    put(
        "in-short",
        "Bars: CPU time for each request of sidegate, Envoy, HAProxy and nginx",
        bars.grouped(
            "CPU time for a forwarded request",
            "1 KiB, one core, 64 connections, 50,000 known tokens (HAProxy "
            f"has no cache, nginx does not authenticate). {HOW}",
            "µs",
            [("", asked(IN_SHORT))],
        ),
    )
    put(
        "cpu",
        "Bars: CPU time for each request, grouped by what is asked of the proxy",
        bars.grouped(
            "CPU time for a request",
            f"The whole proxy process, 64 connections, 1 KiB bodies, one core. {HOW}",
            "µs",
            [(heading, asked(wanted)) for heading, wanted in QUESTIONS],
        ),
    )
    put(
        "tls",
        "Bars: CPU time for a new TLS connection and one request",
        bars.grouped(
            "CPU time for a TLS 1.3 connection and one request",
            f"ECDSA P-256 certificate. {HOW}",
            "µs",
            [("", asked(TLS))],
        ),
    )
    put(
        "latency",
        "Bars: latency at a given rate of requests",
        bars.grouped(
            f"Latency at {side.get('rate') or 0:,.0f} requests a second",
            f"From the moment when a request was due. {HOW}",
            "µs",
            [("Median (p50)", asked(PACED, "p50_us")), ("99 of 100 (p99)", asked(PACED, "p99_us"))],
        ),
    )
    put(
        "idle",
        "Bars: resident memory of each program before its first request",
        bars.grouped(
            "Resident memory when idle",
            "One worker; before the first request.",
            "MiB",
            [
                (
                    "",
                    [
                        bars.Bar(label, side["summary"][name]["idle_kib"] / 1024, None, label == "sidegate")
                        for name, label in IDLE
                        if name in side["summary"]
                    ],
                )
            ],
        ),
    )
    put(
        "demands",
        "Bars: each ratio and figure as a share of what it must not exceed",
        bars.bounds(
            "What was demanded, and what is",
            "Each bar is a share of what must not be exceeded; left of the line "
            "is good. Solid mark: best rounds; dashed mark: what is aimed at.",
            [
                bars.Bound(row["name"], row["median"], row["best"], row["must"], row.get("aim"), row.get("unit", ""))
                for row in [*side["ratios"], *side.get("figures", [])]
                if row.get("must")
            ],
        ),
    )
    for name, curve in (scaling or {"curves": {}})["curves"].items():
        put(name, f"Curve: {curve['title'].lower()} and CPU time for each request", curve_of(name, curve))
    tokens = (scaling or {"curves": {}})["curves"].get("tokens")
    if tokens:
        put(
            "tokens-memory",
            "Curve: cached tokens and resident memory",
            lines.curve(
                "Cached tokens and memory",
                "Resident memory of the whole process, after the run.",
                "MiB (powers of ten)",
                [
                    lines.Series(name, [(row["x"], row["after_kib"] / 1024, None) for row in rows])
                    for name, rows in tokens["series"].items()
                ],
                ticks(tokens),
                log_y=True,
            ),
        )
    return drawn


def bar(label, row, figure, name):
    return bars.Bar(label, row[figure]["median"], row[figure]["best"], name.startswith("sidegate"))


def curve_of(name, curve):
    if name == "workers":
        groups = [
            (
                series,
                [
                    bars.Bar(
                        f"{row['x']} worker{'s' if row['x'] > 1 else ''}", row[CPU]["median"], row[CPU]["best"], True
                    )
                    for row in rows
                ],
            )
            for series, rows in curve["series"].items()
        ]
        return bars.grouped("Workers and CPU time for a request", f"{sentence(curve['about'])} {HOW}", "µs", groups)
    bodies = curve["unit"] == "bytes"
    return lines.curve(
        f"{curve['title']} and CPU time",
        sentence(curve["about"]),
        "µs of CPU for each request" + (" (powers of ten)" if bodies else ""),
        [
            lines.Series(series, [(row["x"], row[CPU]["median"], row[CPU]["best"]) for row in rows])
            for series, rows in curve["series"].items()
        ],
        ticks(curve),
        log_y=bodies,
    )


def ticks(curve):
    said = lines.bytes_of if curve["unit"] == "bytes" else lines.counted
    return {row["x"]: said(row["x"]) for rows in curve["series"].values() for row in rows}


def sentence(text):
    return text[0].upper() + text[1:] + "."
