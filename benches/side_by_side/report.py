"""From the rounds to the table: medians, bests, ratios."""

from statistics import median

# name, figure over figure, the most that is wanted now
RATIOS = [
    ("authenticated(1) / passthrough", "sidegate auth 1", "sidegate passthrough", 1.20),
    ("authenticated(1,000) / passthrough", "sidegate auth 1k", "sidegate passthrough", 1.20),
    ("authenticated(50,000) / passthrough", "sidegate auth 50k", "sidegate passthrough", 1.20),
    ("authenticated(1), original token / passthrough", "sidegate auth 1 original", "sidegate passthrough", None),
    ("authenticated(1) / passthrough without the header", "sidegate auth 1", "sidegate passthrough bare", None),
    ("authenticated(1), access log / passthrough", "sidegate auth 1 log all", "sidegate passthrough", None),
    ("passthrough / nginx", "sidegate passthrough", "nginx", 1.60),
    ("passthrough / nginx, without the header", "sidegate passthrough bare", "nginx bare", None),
    ("authenticated(1) / nginx without authentication", "sidegate auth 1", "nginx", None),
    ("authenticated(1) / Envoy with cache", "sidegate auth 1", "envoy cache 1", 0.45),
    ("authenticated(50,000) / Envoy with cache", "sidegate auth 50k", "envoy cache 50k", 0.45),
    ("authenticated(1) / HAProxy jwt_verify RS256", "sidegate auth 1", "haproxy RS256", None),
    ("authenticated(1) / HAProxy jwt_verify ES256", "sidegate auth 1", "haproxy ES256", None),
    ("cache miss / HAProxy jwt_verify RS256", "sidegate miss", "haproxy RS256", None),
    ("cache miss / Envoy without cache", "sidegate miss", "envoy", None),
]


def good(visits):
    """The quiet visits, or all of them where fewer than two were quiet."""
    quiet = [visit for visit in visits if not visit["noisy"]]
    return quiet if len(quiet) >= 2 else visits


def summary(results):
    """{contestant: {figure: median and best}}"""
    out = {}
    for name, result in results.items():
        visits = good(result["visits"])
        if not visits:
            continue
        row = {"visits": len(result["visits"]), "quiet": sum(not visit["noisy"] for visit in result["visits"])}
        for figure, best in (("cpu_us_per_request", min), ("per_second", max), ("p50_us", min), ("p99_us", min)):
            values = [visit[figure] for visit in visits]
            row[figure] = {"median": median(values), "best": best(values)}
        row["failed"] = sum(visit["unexpected"] + visit["broken"] for visit in result["visits"])
        row["idle_kib"], row["after_kib"] = result["idle_kib"], result["after_kib"]
        row["start_ms"] = result.get("start_ms")
        out[name] = row
    return out


def ratios(rows):
    out = []
    for name, above, below, most in RATIOS:
        if above in rows and below in rows:
            figures = [rows[at]["cpu_us_per_request"] for at in (above, below)]
            out.append({"name": name, "of": [above, below], "at_most": most,
                        "median": figures[0]["median"] / figures[1]["median"],
                        "best": figures[0]["best"] / figures[1]["best"]})
    return out


def latency(rows):
    """Against nginx, at a given rate only: where everybody is saturated, the answer is the throughput."""
    out = []
    for name in ("sidegate passthrough", "sidegate auth 1", "sidegate auth 50k"):
        for figure in ("p50_us", "p99_us"):
            if name in rows and "nginx" in rows:
                above, below = rows[name][figure], rows["nginx"][figure]
                out.append({"name": f"{figure[:3]} of {name} / nginx", "at_most": None,
                            "median": above["median"] / below["median"], "best": above["best"] / below["best"]})
    return out


def memory(rows, tokens):
    """What a cached token costs: 50,000 against one, after the same work."""
    out = []
    for credential, suffix in (("internal_jwt", ""), ("original", " original")):
        one, many = rows.get("sidegate auth 1" + suffix), rows.get("sidegate auth 50k" + suffix)
        if one and many:
            out.append({"credential": credential, "at_most": 0.8,
                        "kib_per_token": (many["after_kib"] - one["after_kib"]) / (tokens - 1)})
    return out


def text(document):
    rows = document["summary"]
    machine = document["machine"]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores{' (virtual)' if machine['virtual'] else ''}, "
        f"Linux {machine['kernel']}; " + ", ".join(f"{name} {number}" for name, number in document["versions"].items()),
        f"{document['rounds']} rounds of {document['seconds']} s, {document['connections']} keep-alive connections, "
        f"{document['body']}-byte bodies; proxy on core 0, upstream and load on core 1"
        + (f"; {document['rate']} requests/s" if document["rate"] else ""),
        "",
        f"{'':27}{'CPU µs/request':>17}{'requests/s':>12}{'p50':>8}{'p99':>8}{'MiB idle':>10}{'after':>8}"
        f"{'start':>9}{'quiet':>7}",
        f"{'':27}{'median':>9}{'best':>8}{'':>12}{'µs':>8}{'µs':>8}{'':>18}{'ms':>9}",
    ]
    for name, row in rows.items():
        cpu, start = row["cpu_us_per_request"], row["start_ms"]
        lines.append(
            f"{name:27}{cpu['median']:9.2f}{cpu['best']:8.2f}{row['per_second']['median']:12.0f}"
            f"{row['p50_us']['median']:8.0f}{row['p99_us']['median']:8.0f}"
            f"{row['idle_kib'] / 1024:10.1f}{row['after_kib'] / 1024:8.1f}"
            + (f"{start['min']:5.1f}/{start['median']:.0f}" if start else "").rjust(9)
            + f"{row['quiet']}/{row['visits']}".rjust(7)
            + (f"  {row['failed']} FAILED" if row["failed"] else ""))
    lines += ["", f"{'ratio' if document['rate'] else 'ratio of CPU time per request':54}{'median':>8}{'best':>8}{'at most':>9}"]
    for ratio in document["ratios"]:
        missed = ratio["at_most"] and max(ratio["median"], ratio["best"]) > ratio["at_most"]
        lines.append(f"{ratio['name']:54}{ratio['median']:8.2f}{ratio['best']:8.2f}"
                     + (f"{ratio['at_most']:9.2f}" if ratio["at_most"] else "") + ("  missed" if missed else ""))
    for memory_of in document["memory"]:
        name = f"memory per cached token, credential {memory_of['credential']}, KiB"
        lines.append(f"{name:54}{memory_of['kib_per_token']:8.2f}{'':8}{memory_of['at_most']:9.2f}"
                     + ("  missed" if memory_of["kib_per_token"] > memory_of["at_most"] else ""))
    lines += ["", "sidegate's access log: `refused`, except `log all` (`all`, written to a file).",
              "Every request carries the token, also where nobody looks at it, except `bare`."]
    for name, why in document["skipped"].items():
        lines.append(f"skipped: {name}: {why}")
    unquiet = sum(row["visits"] - row["quiet"] for row in rows.values())
    if unquiet:
        lines.append(f"{unquiet} visits were noisy (others took more than 4 % of the proxy's core, 10 % of the other, "
                     "or 1 % was stolen); they are left out where at least two quiet ones remain.")
    return "\n".join(lines)
