"""From the rounds to the table: medians, bests, ratios, and whether they hold.

The document (`run --json FILE`; charts read it, so that keys are added and none is renamed):

  machine            {cpu, cores, memory_mib, kernel, virtual}
  versions           {program: version}
  rounds, seconds, connections, body, rate, tokens     what was asked for; rate: of the contestants at a rate
  about              {contestant: what it measures}
  summary            {contestant: {visits, quiet, failed, idle_kib, after_kib, start_ms: {min, median} or null,
                      cpu_us_per_request, per_second, p50_us, p99_us: {median, best} each}}
  ratios             [{name, of: [contestant, contestant], figure, must, aim, at_most, median, best,
                      per_round: [{round, ratio, quiet}], rounds_median, holds, holds_aim}]
                     at_most is must by its old name; holds is null where nothing is demanded; figure is a key of
                     summary
  figures            [{name, unit, must, aim, median, best, holds, holds_aim}], what is no ratio
  memory             [{credential, kib_per_token, at_most}]
  connection_memory  [{name, tls, connections, kib_per_connection, before_kib, after_kib}]
  skipped            {contestant: why}
  results            {contestant: {idle_kib, after_kib, start_ms, visits: [{round, noisy, noise, and what bench_load
                      tells: requests, seconds, per_second, cpu_us_per_request, p50_us to max_us, …}]}}

A bound holds if median against median and best against best both do. The median of the rounds' own ratios stands beside
them, since the speed of a machine drifts from minute to minute.
"""

from statistics import median
from typing import NamedTuple

CPU = "cpu_us_per_request"
BEST = {CPU: min, "per_second": max, "p50_us": min, "p99_us": min}


class Ratio(NamedTuple):
    """A figure of one contestant over that of another, the most it must and the most it should be."""

    name: str
    above: str
    below: str
    must: float | None = None
    aim: float | None = None
    figure: str = CPU


RATIOS = [
    Ratio("authenticated (1) / passthrough", "sidegate auth 1", "sidegate passthrough", 1.10, 1.05),
    Ratio("authenticated (1,000) / passthrough", "sidegate auth 1k", "sidegate passthrough", 1.15, 1.10),
    Ratio("authenticated (50,000) / passthrough", "sidegate auth 50k", "sidegate passthrough", 1.15, 1.10),
    Ratio("passthrough / nginx", "sidegate passthrough", "nginx", 1.40, 1.15),
    Ratio("authenticated (1) / nginx without authentication", "sidegate auth 1", "nginx", 1.55, 1.0),
    Ratio("authenticated (1) / Envoy with cache", "sidegate auth 1", "envoy cache 1", 0.36, 0.28),
    Ratio("authenticated (50,000) / Envoy with cache", "sidegate auth 50k", "envoy cache 50k", 0.36, 0.28),
    Ratio("authenticated (1) / HAProxy jwt_verify RS256", "sidegate auth 1", "haproxy RS256", 0.33, 0.25),
    Ratio("authenticated (1) / HAProxy jwt_verify ES256", "sidegate auth 1", "haproxy ES256", 0.15, 0.12),
    Ratio("cache miss / HAProxy jwt_verify RS256", "sidegate miss", "haproxy RS256", 0.75, 0.60),
    Ratio("cache miss / Envoy without cache", "sidegate miss", "envoy", 0.48, 0.38),
    Ratio("HTTP/2 over TLS, 64 x 1, / Envoy with cache", "sidegate h2 64x1", "envoy h2 64x1", 0.48, 0.40),
    Ratio("HTTP/2 over TLS, 4 x 16, / Envoy with cache", "sidegate h2 4x16", "envoy h2 4x16", 0.48, 0.40),
    Ratio("new TLS connection + one request / nginx", "sidegate TLS new", "nginx TLS new", 0.68, 0.60),
    Ratio("p50 at a rate, authenticated / nginx", "sidegate auth paced", "nginx paced", 1.4, 1.2, "p50_us"),
    Ratio("p99 at a rate, authenticated / nginx", "sidegate auth paced", "nginx paced", 1.2, 1.0, "p99_us"),
    Ratio("opaque session token (1) / foreign JWT (1)", "sidegate opaque 1", "sidegate auth 1", 1.0),
    Ratio("opaque session token (1,000) / foreign JWT (1,000)", "sidegate opaque 1k", "sidegate auth 1k", 1.0),
    # Of interest only. The first three: what a peer that asks nobody needs of those that verify, on this processor.
    Ratio("nginx without authentication / Envoy with cache", "nginx", "envoy cache 1"),
    Ratio("nginx without authentication / HAProxy jwt_verify RS256", "nginx", "haproxy RS256"),
    Ratio("nginx without authentication / HAProxy jwt_verify ES256", "nginx", "haproxy ES256"),
    Ratio("authenticated (1), original token / passthrough", "sidegate auth 1 original", "sidegate passthrough"),
    Ratio("authenticated (1) / passthrough without the header", "sidegate auth 1", "sidegate passthrough bare"),
    Ratio("passthrough / nginx, without the header", "sidegate passthrough bare", "nginx bare"),
    Ratio("access log all: passthrough / without", "sidegate passthrough log all", "sidegate passthrough"),
    Ratio("access log all: authenticated (1) / without", "sidegate auth 1 log all", "sidegate auth 1"),
    Ratio("access log all: authenticated (50,000) / without", "sidegate auth 50k log all", "sidegate auth 50k"),
    Ratio("access log all: authenticated (1) / passthrough", "sidegate auth 1 log all",
          "sidegate passthrough log all"),
    Ratio("resumed TLS connection + one request / nginx", "sidegate TLS resumed", "nginx TLS resumed"),
    Ratio("new TLS connection, X25519MLKEM768 / X25519", "sidegate TLS new hybrid", "sidegate TLS new"),
    Ratio("p50 at a rate, passthrough / nginx", "sidegate passthrough paced", "nginx paced", figure="p50_us"),
    Ratio("p99 at a rate, passthrough / nginx", "sidegate passthrough paced", "nginx paced", figure="p99_us"),
]


def quiet_of(measured, is_quiet):
    """The quiet ones, or all where fewer than two are."""
    quiet = [one for one in measured if is_quiet(one)]
    return quiet if len(quiet) >= 2 else measured


def summary(results):
    """{contestant: {figure: median and best}}"""
    out = {}
    for name, result in results.items():
        visits = quiet_of(result["visits"], lambda visit: not visit["noisy"])
        if not visits:
            continue
        row = {"visits": len(result["visits"]), "quiet": sum(not visit["noisy"] for visit in result["visits"])}
        for figure, best in BEST.items():
            values = [visit[figure] for visit in visits]
            row[figure] = {"median": median(values), "best": best(values)}
        row["failed"] = sum(visit["unexpected"] + visit["broken"] for visit in result["visits"])
        row["idle_kib"], row["after_kib"] = result["idle_kib"], result["after_kib"]
        row["start_ms"] = result.get("start_ms")
        out[name] = row
    return out


def holds(bound, *figures):
    """Whether all are within the bound; None where there is none."""
    return None if bound is None else max(figures) <= bound


def per_round(above, below, figure):
    """Of the visits of two contestants: the ratio of each round that both have."""
    others = {visit["round"]: visit for visit in below}
    return [{"round": visit["round"], "ratio": visit[figure] / others[visit["round"]][figure],
             "quiet": not (visit["noisy"] or others[visit["round"]]["noisy"])}
            for visit in above if visit["round"] in others]


def ratios(rows, results):
    out = []
    for name, above, below, must, aim, figure in RATIOS:
        if above not in rows or below not in rows:
            continue
        over, under = rows[above][figure], rows[below][figure]
        middle, best = over["median"] / under["median"], over["best"] / under["best"]
        rounds = per_round(results[above]["visits"], results[below]["visits"], figure)
        counted = [one["ratio"] for one in quiet_of(rounds, lambda one: one["quiet"])]
        out.append({"name": name, "of": [above, below], "figure": figure, "must": must, "aim": aim, "at_most": must,
                    "median": middle, "best": best, "per_round": rounds,
                    "rounds_median": median(counted) if counted else None,
                    "holds": holds(must, middle, best), "holds_aim": holds(aim, middle, best)})
    return out


def memory(rows, tokens):
    """What a cached token costs: 50,000 against one, after the same work."""
    out = []
    for credential, suffix, most in (("original", " original", 0.6), ("internal_jwt", "", None)):
        one, many = rows.get("sidegate auth 1" + suffix), rows.get("sidegate auth 50k" + suffix)
        if one and many:
            out.append({"credential": credential, "at_most": most,
                        "kib_per_token": (many["after_kib"] - one["after_kib"]) / (tokens - 1)})
    return out


def figures(rows, memory_of_tokens, connection_memory):
    """What is no ratio: milliseconds, MiB, KiB."""
    out = []

    def add(name, unit, must, aim, middle, best=None):
        best = middle if best is None else best
        out.append({"name": name, "unit": unit, "must": must, "aim": aim, "median": middle, "best": best,
                    "holds": holds(must, middle, best), "holds_aim": holds(aim, middle, best)})

    own = rows.get("sidegate auth 1")
    if own and own["start_ms"]:
        add("start to the first authenticated 200 (key file)", "ms", 25, 10, own["start_ms"]["median"],
            own["start_ms"]["min"])
    if own:
        add("idle resident memory", "MiB", 12, 8, own["idle_kib"] / 1024)
    for entry in memory_of_tokens:
        must, aim = (0.6, 0.4) if entry["credential"] == "original" else (None, None)
        add(f"memory per cached RS256 token, {entry['credential']}", "KiB", must, aim, entry["kib_per_token"])
    for entry in connection_memory:
        how = "TLS" if entry["tls"] else "cleartext"
        add(f"memory per idle connection, {entry['name']}, {how}, {entry['connections']:,}", "KiB", None, None,
            entry["kib_per_connection"])
    return out


def verdict(figure):
    if figure["holds"] is None:
        return ""
    return "NO" if not figure["holds"] else "aim" if figure["holds_aim"] else "yes"


def number(value):
    return "" if value is None else f"{value:.2f}"


def text(document):
    rows, machine = document["summary"], document["machine"]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores{' (virtual)' if machine['virtual'] else ''}, "
        f"Linux {machine['kernel']}; " + ", ".join(f"{name} {number}" for name, number in document["versions"].items()),
        f"{document['rounds']} rounds of {document['seconds']} s, {document['connections']} keep-alive connections, "
        f"{document['body']}-byte bodies; proxy on core 0, upstream and load on core 1; "
        f"paced: {document['rate']:.0f} requests/s",
        "",
        f"{'':29}{'CPU µs/request':>17}{'requests/s':>12}{'p50':>8}{'p99':>8}{'MiB idle':>10}{'after':>8}"
        f"{'start':>12}{'quiet':>7}",
        f"{'':29}{'median':>9}{'best':>8}{'':>12}{'µs':>8}{'µs':>8}{'':>18}{'ms':>12}",
    ]
    for name, row in rows.items():
        cpu, start = row[CPU], row["start_ms"]
        lines.append(
            f"{name:29}{cpu['median']:9.2f}{cpu['best']:8.2f}{row['per_second']['median']:12.0f}"
            f"{row['p50_us']['median']:8.0f}{row['p99_us']['median']:8.0f}"
            f"{row['idle_kib'] / 1024:10.1f}{row['after_kib'] / 1024:8.1f}"
            + (f"{start['min']:.1f}/{start['median']:.0f}" if start else "").rjust(12)
            + f"{row['quiet']}/{row['visits']}".rjust(7)
            + (f"  {row['failed']} FAILED" if row["failed"] else ""))
    lines += ["", f"{'ratio of CPU time per request, or of latency':54}{'must':>7}{'aim':>7}{'median':>8}{'best':>8}"
                  f"{'rounds':>8}  holds"]
    for ratio in document["ratios"]:
        lines.append(f"{ratio['name']:54}{number(ratio['must']):>7}{number(ratio['aim']):>7}{ratio['median']:8.2f}"
                     f"{ratio['best']:8.2f}{number(ratio['rounds_median']):>8}  {verdict(ratio)}".rstrip())
    lines += ["", f"{'figure':62}{'must':>7}{'aim':>7}{'median':>8}{'best':>8}  holds"]
    for figure in document["figures"]:
        lines.append(f"{figure['name'] + ', ' + figure['unit']:62}{number(figure['must']):>7}{number(figure['aim']):>7}"
                     f"{figure['median']:8.2f}{figure['best']:8.2f}  {verdict(figure)}".rstrip())
    lines += ["", *NOTES]
    lines += [f"skipped: {name}: {why}" for name, why in document["skipped"].items()]
    noisy = sum(row["visits"] - row["quiet"] for row in rows.values())
    if noisy:
        lines.append(f"{noisy} visits were noisy (others took more than 4 % of the proxy's core or 10 % of the other, "
                     "1 % was stolen, or 1 % of the paced requests left 0.5 ms late); they are left out where at least "
                     "two quiet ones remain.")
    if any(row["quiet"] < 4 for row in rows.values()):
        lines.append("Fewer than four quiet rounds: this run is a look, no proof.")
    return "\n".join(lines)


NOTES = [
    "rounds: the median of the ratios of each round. holds: yes, aim or NO, median and best both.",
    "sidegate's access log: `refused`, except `log all` (`all`, written to a file).",
    "Every request carries the token, also where nobody looks at it, except `bare`.",
    "h2 AxB: A connections with B requests under way on each; the token is a literal in each request, as with curl.",
    "TLS 1.3, AES-128-GCM, X25519 (hybrid: X25519MLKEM768), one ECDSA P-256 certificate for all. `TLS new` and `TLS",
    "resumed`: TCP, handshake, one request with `Connection: close`; sidegate and nginx send stateless tickets and",
    "keep no session cache.",
    "paced: latency from the moment when a request was due, not from when it left.",
]
