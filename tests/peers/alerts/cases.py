"""What Prometheus would have scraped, a sample each minute: a house where all is well, and each trouble in it.

A case is that house with some series changed from the 60th minute on, and says when its alert, and no other, must fire
and when it must not fire yet. Names and labels are those of a real sidegate; `alerts_peer.py` compares them with what
one says. Values are in promtool's notation: `0+5x60` begins at 0 and adds 5 in each of the next 60 minutes.
"""

from dataclasses import dataclass, field

MINUTES = 420
CALM = 60  # minutes before a trouble begins

TARGET = {"namespace": "shop", "job": "sidegate", "pod": "sidegate-a", "instance": "10.0.0.1:9901"}
DAY = 24 * 60


def name(metric, **labels):
    told = ",".join(f'{label}="{value}"' for label, value in {**TARGET, **labels}.items())
    return f"{metric}{{{told}}}"


def grows(each_minute):
    """A counter from the first minute to the last."""
    return f"0+{each_minute}x{MINUTES}"


def stays(value):
    return f"{value}+0x{MINUTES}"


def counter(before, after):
    """A counter that grows by `before` each minute, and by `after` once the trouble is there."""
    return f"0+{before}x{CALM} {before * CALM}+{after}x{MINUTES - CALM}"


def gauge(before, after):
    return f"{before}+0x{CALM - 1} {after}+0x{MINUTES - CALM}"


HTTP = {"route": "all", "method": "GET"}
REMOTE = {"authority": "remote"}
ASKED = {"authority": "remote", "dialect": "oauth2", "grant": "refresh_token"}
NONE = {"code": "none"}
OVERHEAD = "sidegate_http_overhead_seconds_bucket"
KEYS_FETCHED = f"0+60x{MINUTES}"  # each minute

HEALTHY = {
    name("up"): stays(1),
    name("sidegate_build_info", version="0.1.0", revision="none", rustc="1", crypto="aws-lc-rs"): stays(1),
    name("process_start_time_seconds"): stays(1),
    name("process_open_fds"): stays(300),
    name("process_max_fds"): stays(1048576),
    name("sidegate_http_requests_total", **HTTP, code="2xx"): grows(600),
    name("sidegate_http_requests_total", **HTTP, code="5xx"): grows(0.4),
    name("sidegate_upstream_requests_total", upstream="api", code="2xx"): grows(590),
    name("sidegate_upstream_requests_total", upstream="api", code="5xx"): grows(0.1),
    name("sidegate_upstream_requests_total", upstream="api", **NONE): grows(0.1),
    name("sidegate_upstream_errors_total", upstream="api", reason="upstream_closed"): grows(0.1),
    name("sidegate_upstream_errors_total", upstream="api", reason="body_broken"): grows(1),
    name(OVERHEAD, listener="public", le="0.0001"): grows(500),
    name(OVERHEAD, listener="public", le="0.1"): grows(599),
    name(OVERHEAD, listener="public", le="1"): grows(600),
    name(OVERHEAD, listener="public", le="+Inf"): grows(600),
    name("sidegate_http_overhead_seconds_count", listener="public"): grows(600),
    name("sidegate_authority_breaker_state", **REMOTE, state="closed"): stays(1),
    name("sidegate_authority_breaker_state", **REMOTE, state="open"): stays(0),
    name("sidegate_authority_breaker_state", **REMOTE, state="half_open"): stays(0),
    name("sidegate_authority_breaker_refused_total", **REMOTE): stays(0),
    name("sidegate_authority_requests_total", **ASKED, result="ok"): grows(10),
    name("sidegate_authority_requests_total", **ASKED, result="invalid_grant"): grows(1),
    name("sidegate_authority_requests_total", **ASKED, result="temporarily_unavailable"): grows(0.05),
    name("sidegate_authority_requests_total", **ASKED, result="invalid_client"): stays(0),
    name("sidegate_renewals_total", kind="authority", result="renewed", reason="refreshed"): grows(10),
    name("sidegate_renewals_total", kind="authority", result="ended", reason="invalid_grant"): grows(1),
    name("sidegate_renewals_total", kind="authority", result="ended", reason="answer_lost"): stays(0),
    name("sidegate_renewals_total", kind="authority", result="failed", reason="not_renewable"): grows(4),
    name("sidegate_renewals_total", kind="authority", result="failed", reason="unavailable"): grows(0.05),
    name("sidegate_service_token_valid", upstream="vendor"): stays(1),
    name("sidegate_sign_ins_total", result="success"): grows(10),
    name("sidegate_sign_ins_total", result="wrong"): grows(2),
    name("sidegate_sign_ins_total", result="unavailable"): stays(0),
    name("sidegate_issuer_usable", issuer="corp"): stays(1),
    name("sidegate_jwks_last_success_timestamp_seconds", issuer="corp"): KEYS_FETCHED,
    name("sidegate_jwks_max_age_seconds", issuer="corp"): stays(86400),
    name("sidegate_jwks_fetches_total", issuer="corp", result="success"): grows(1),
    name("sidegate_jwks_fetches_total", issuer="corp", result="failure"): grows(0.1),
    name("sidegate_introspections_total", issuer="corp", result="active"): grows(5),
    name("sidegate_introspections_total", issuer="corp", result="introspection_unavailable"): grows(0.05),
    name("sidegate_probes_total", issuer="old", result="active"): grows(5),
    name("sidegate_probes_total", issuer="old", result="probe_unavailable"): grows(0.05),
    name("sidegate_token_refreshes_total", result="rotated"): grows(20),
    name("sidegate_token_refreshes_total", result="refused"): grows(5),
    name("sidegate_token_refreshes_total", result="reused"): stays(0),
    name("sidegate_token_refreshes_total", result="unavailable"): grows(0.05),
    name("sidegate_session_store_up", store="redis"): stays(1),
    name("sidegate_session_operations_total", store="redis", op="find", result="ok"): grows(50),
    name("sidegate_session_operations_total", store="redis", op="find", result="unreadable"): stays(0),
    name("sidegate_session_news_heard", store="redis"): stays(1),
    name("sidegate_session_store_clock_ahead_seconds", store="redis"): stays(-1),
    name("sidegate_journal_failures_total"): stays(0),
    name("sidegate_journal_entries", state="waiting"): stays(2),
    name("sidegate_journal_entries", state="unreadable"): stays(0),
    name("sidegate_config_last_reload_successful"): stays(1),
    name("sidegate_config_watch_errors_total"): stays(0),
    name("sidegate_tls_certificate_expiry_timestamp_seconds", name="public"): stays(90 * DAY * 60),
    name("sidegate_log_lines_dropped_total"): stays(0),
    name("sidegate_connections", listener="public"): stays(200),
    name("sidegate_connections_max", listener="public"): stays(10000),
    name("sidegate_password_hashes_total", result="right"): grows(10),
    name("sidegate_password_hashes_total", result="busy"): grows(0.1),
    name("sidegate_rate_limited_total", scope="address"): grows(5),
    name("sidegate_cache_requests_total", cache="verdicts", result="hit"): grows(550),
    name("sidegate_cache_requests_total", cache="verdicts", result="miss"): grows(50),
    name("sidegate_cache_evictions_total", cache="verdicts"): grows(20),
}


@dataclass
class Case:
    alert: str
    # Minutes after the trouble began: the last at which it is not told yet, and one at which it is.
    pending: int
    firing: int
    trouble: dict
    # Labels of the alert beside namespace and job.
    labels: dict = field(default_factory=dict)
    # What fires before it, and beside it.
    before: tuple = ()
    also: tuple = ()


BREAKER_OPEN = {
    name("sidegate_authority_breaker_state", **REMOTE, state="closed"): gauge(1, 0),
    name("sidegate_authority_breaker_state", **REMOTE, state="open"): gauge(0, 1),
}

FIRES = [
    Case("SidegateDown", 4, 6, {name("up"): gauge(1, 0)}),
    Case("SidegateRestarts", 1, 3, {name("process_start_time_seconds"): f"1+0x{CALM - 1} 3600 3660 3720 3780+0x400"}),
    Case(
        "SidegateErrors",
        13,
        18,
        {
            name("sidegate_http_requests_total", **HTTP, code="5xx"): counter(0.4, 60),
        },
    ),
    Case(
        "SidegateErrorsLinger",
        60,
        240,
        {name("sidegate_http_requests_total", **HTTP, code="5xx"): counter(0.4, 6)},
    ),
    Case(
        "SidegateUpstreamAway",
        4,
        10,
        {
            name("sidegate_http_requests_total", **HTTP, code="5xx"): counter(0.4, 300.4),
            name("sidegate_upstream_requests_total", upstream="api", **NONE): counter(0.1, 300),
            name("sidegate_upstream_errors_total", upstream="api", reason="upstream_unreachable"): counter(0, 300),
        },
        {"upstream": "api"},
    ),
    Case(
        "SidegateUpstreamErrors",
        10,
        30,
        {
            name("sidegate_http_requests_total", **HTTP, code="5xx"): counter(0.4, 100.4),
            name("sidegate_upstream_requests_total", upstream="api", code="5xx"): counter(0.1, 100),
        },
        {"upstream": "api"},
    ),
    Case(
        "SidegateSlow",
        14,
        30,
        {
            name(OVERHEAD, listener="public", le="0.1"): counter(599, 570),
        },
    ),
    Case(
        "SidegateAuthorityAway",
        1,
        4,
        {
            **BREAKER_OPEN,
            name("sidegate_authority_breaker_refused_total", **REMOTE): counter(0, 20),
            # What comes of it is not told as well.
            name("sidegate_renewals_total", kind="authority", result="failed", reason="not_asked"): counter(0, 20),
            name("sidegate_http_requests_total", **HTTP, code="5xx"): counter(0.4, 20),
        },
        REMOTE,
    ),
    Case(
        "SidegateAuthorityRefuses",
        1,
        10,
        {
            name("sidegate_authority_requests_total", **ASKED, result="invalid_client"): counter(0, 10),
            name("sidegate_renewals_total", kind="authority", result="failed", reason="misconfigured"): counter(0, 10),
        },
        REMOTE,
    ),
    Case(
        "SidegateRenewalsFail",
        4,
        8,
        {
            # What comes of it is not told as well.
            name("sidegate_http_requests_total", **HTTP, code="5xx"): counter(0.4, 20),
            name("sidegate_renewals_total", kind="authority", result="failed", reason="unavailable"): counter(0.05, 10),
        },
        {"kind": "authority"},
    ),
    Case(
        "SidegateSessionsEnd",
        4,
        45,
        {
            name("sidegate_renewals_total", kind="authority", result="ended", reason="invalid_grant"): counter(1, 40),
        },
    ),
    Case(
        "SidegateSessionsLost",
        -1,
        3,
        {name("sidegate_renewals_total", kind="authority", result="ended", reason="answer_lost"): gauge(0, 1)},
    ),
    Case(
        "SidegateServiceTokenMissing",
        3,
        5,
        {name("sidegate_service_token_valid", upstream="vendor"): gauge(1, 0)},
        {"upstream": "vendor"},
    ),
    Case(
        "SidegateSignInsFail",
        3,
        8,
        {
            name("sidegate_sign_ins_total", result="unavailable"): counter(0, 10),
            # What comes of it is not told as well.
            name("sidegate_http_requests_total", **HTTP, code="5xx"): counter(0.4, 300),
        },
    ),
    Case(
        "SidegateIssuerUnusable",
        1,
        12,
        {
            name("sidegate_issuer_usable", issuer="corp"): gauge(1, 0),
            # What comes of it is not told as well.
            name("sidegate_http_requests_total", **HTTP, code="5xx"): counter(0.4, 300),
        },
        {"issuer": "corp"},
    ),
    Case(
        "SidegateKeysOld",
        70,
        90,
        {
            name("sidegate_jwks_last_success_timestamp_seconds", issuer="corp"): f"0+60x{CALM} 3600+0x{MINUTES}",
            name("sidegate_jwks_fetches_total", issuer="corp", result="failure"): counter(0, 3),
        },
        {"issuer": "corp"},
    ),
    Case(
        "SidegateKeysTooOld",
        94,
        110,
        {
            name("sidegate_jwks_last_success_timestamp_seconds", issuer="corp"): f"0+60x{CALM} 3600+0x{MINUTES}",
            name("sidegate_jwks_fetches_total", issuer="corp", result="failure"): counter(0, 3),
            name("sidegate_jwks_max_age_seconds", issuer="corp"): stays(2 * 3600),
        },
        {"issuer": "corp"},
        also=("SidegateKeysOld",),
    ),
    Case(
        "SidegateVerdictsFail",
        2,
        8,
        {name("sidegate_introspections_total", issuer="corp", result="introspection_unavailable"): counter(0.05, 5)},
        {"issuer": "corp"},
    ),
    Case(
        "SidegateVerdictsFail",
        2,
        8,
        {name("sidegate_probes_total", issuer="old", result="probe_misconfigured"): counter(0, 5)},
        {"issuer": "old"},
    ),
    Case("SidegateReuseDetected", -1, 3, {name("sidegate_token_refreshes_total", result="reused"): gauge(0, 1)}),
    Case(
        "SidegateRefreshesFail",
        4,
        10,
        {name("sidegate_token_refreshes_total", result="unavailable"): counter(0.05, 5)},
    ),
    Case(
        "SidegateRefreshesRefused",
        14,
        60,
        {name("sidegate_token_refreshes_total", result="refused"): counter(5, 100)},
    ),
    Case(
        "SidegateStoreDown",
        1,
        3,
        {
            name("sidegate_session_store_up", store="redis"): gauge(1, 0),
            # What comes of it is not told as well.
            name("sidegate_session_news_heard", store="redis"): gauge(1, 0),
            name("sidegate_token_refreshes_total", result="unavailable"): counter(0.05, 20),
            name("sidegate_http_requests_total", **HTTP, code="5xx"): counter(0.4, 30),
        },
        {"store": "redis"},
    ),
    Case(
        "SidegateSessionsUnreadable",
        0,
        3,
        {name("sidegate_session_operations_total", store="redis", op="find", result="unreadable"): counter(0, 1)},
        {"store": "redis"},
    ),
    Case("SidegateJournalFails", 0, 3, {name("sidegate_journal_failures_total"): counter(0, 1)}),
    Case("SidegateJournalFails", -1, 1, {name("sidegate_journal_entries", state="unreadable"): gauge(0, 3)}),
    Case(
        "SidegateReplicasDeaf",
        4,
        6,
        {name("sidegate_session_news_heard", store="redis"): gauge(1, 0)},
        {"store": "redis"},
    ),
    Case(
        "SidegateStoreClockDiffers",
        9,
        11,
        {name("sidegate_session_store_clock_ahead_seconds", store="redis"): gauge(-1, -9)},
        {"store": "redis"},
    ),
    Case("SidegateReloadFailed", 4, 6, {name("sidegate_config_last_reload_successful"): gauge(1, 0)}),
    Case("SidegateWatchFails", 14, 20, {name("sidegate_config_watch_errors_total"): counter(0, 6)}),
    Case(
        "SidegateCertificateExpires",
        14,
        30,
        {name("sidegate_tls_certificate_expiry_timestamp_seconds", name="public"): stays(7 * DAY * 60 + CALM * 60)},
        {"name": "public"},
    ),
    Case(
        "SidegateCertificateExpiresSoon",
        14,
        30,
        {name("sidegate_tls_certificate_expiry_timestamp_seconds", name="public"): stays(DAY * 60 + CALM * 60)},
        {"name": "public"},
        before=("SidegateCertificateExpires",),
    ),
    Case(
        "SidegateConnectionsNearLimit",
        4,
        6,
        {name("sidegate_connections", listener="public"): gauge(200, 9500)},
        {"listener": "public"},
    ),
    Case(
        "SidegatePasswordChecksBusy",
        4,
        12,
        {name("sidegate_password_hashes_total", result="busy"): counter(0.1, 10)},
    ),
    Case(
        "SidegateRateLimited",
        14,
        40,
        {name("sidegate_rate_limited_total", scope="address"): counter(5, 200)},
        {"scope": "address"},
    ),
    Case(
        "SidegateCacheThrashes",
        14,
        40,
        {
            name("sidegate_cache_requests_total", cache="verdicts", result="miss"): counter(50, 500),
            name("sidegate_cache_evictions_total", cache="verdicts"): counter(20, 500),
        },
        {"cache": "verdicts"},
    ),
    Case("SidegateLogLost", 0, 3, {name("sidegate_log_lines_dropped_total"): counter(0, 1)}),
    Case("SidegateFileDescriptors", 4, 6, {name("process_open_fds"): gauge(300, 1000000)}),
]

# A process ends and begins again: what it counted begins at zero, what it is about to know is not known yet.
UNKNOWN_AT_FIRST = {
    name("sidegate_issuer_usable", issuer="corp"),
    name("sidegate_service_token_valid", upstream="vendor"),
    name("sidegate_session_news_heard", store="redis"),
    name("sidegate_jwks_last_success_timestamp_seconds", issuer="corp"),
}


def is_counter(series):
    return series.partition("{")[0].endswith(("_total", "_bucket", "_count"))


def restarted():
    """The house where the process begins anew in the 60th minute, after troubles of which nobody is to hear again."""
    changed = {}
    for series, values in HEALTHY.items():
        if is_counter(series):
            first, _, each = values.partition("x")[0].partition("+")
            # It ends with 50 more than it began with: a reset is not growth.
            changed[series] = f"{50 + float(first)}+{each}x{CALM - 1} 0+{each}x{MINUTES - CALM}"
        elif series in UNKNOWN_AT_FIRST:
            after = f"{CALM * 60}+60x{MINUTES}" if "last_success" in series else f"1+0x{MINUTES}"
            before = f"0+60x{CALM - 1}" if "last_success" in series else f"1+0x{CALM - 1}"
            changed[series] = f"{before} 0 0 {after}"
    changed[name("process_start_time_seconds")] = gauge(1, 3600)
    changed[name("up")] = f"1+0x{CALM - 1} 0 0 1+0x{MINUTES}"
    return {**HEALTHY, **changed}


def fresh():
    """The house where nothing was before the 60th minute. The first requests were refused, since no keys were there."""
    begun = {}
    for series, values in HEALTHY.items():
        if series in UNKNOWN_AT_FIRST:
            values = f"0 0 {values}" if "last_success" not in series else f"0 0 {CALM * 60}+60x{MINUTES}"
        begun[series] = f"_x{CALM} {values}"
    begun[name("up")] = f"_x{CALM} 0 0 1+0x{MINUTES}"
    refused = name("sidegate_http_requests_total", **HTTP, code="5xx")
    begun[refused] = f"_x{CALM} 12 15 18+0.4x{MINUTES}"
    return begun
