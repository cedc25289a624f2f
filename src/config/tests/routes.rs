//! Routes and policies.

use std::time::Duration;

use super::*;

#[test]
fn a_route_has_a_policy_or_is_public() {
    assert_eq!(
        problems(&route("public: true, policy: {audiences: [a]}")),
        ["2:12: routes[0].public: a public route has no policy; leave out public or policy"]
    );
    assert_eq!(load_with(&route("public: true"), &[]).unwrap().config.routes[0].policy, None);
    assert_eq!(
        problems(&route("policy: {}")),
        ["2:12: routes[0].policy.audiences: missing: without it a token that was meant for another service would be \
             accepted; write for example audiences: [orders-api]"]
    );
}

#[test]
fn a_policy_without_issuers_believes_every_one() {
    let source = route("policy: {audiences: [a]}").replace("issuers: [", "issuers: [{name: b, issuer: 'https://b'}, ");
    let config = load_with(&source, &[]).unwrap().config;
    assert_eq!(config.routes[0].policy.as_ref().unwrap().issuers, [0, 1]);
    let none = super::config("issuers: []\nroutes: [{name: a, paths: [/a], upstream: app, policy: {audiences: [a]}}]");
    assert_eq!(
        problems(&none),
        ["2:56: routes[0].policy.issuers: there is no issuer whose tokens could be accepted; add one to issuers"]
    );
}

#[test]
fn names_are_resolved_or_the_nearest_is_named() {
    assert_eq!(
        problems(&config(
            "routes: [{name: a, paths: [/a], upstream: web, policy: {audiences: [a], issuers: [crop, x]}}]"
        )),
        [
            "1:43: routes[0].upstream: no upstream is called \"web\"; known: app",
            "1:83: routes[0].policy.issuers[0]: no issuer is called \"crop\"; did you mean \"corp\"?",
            "1:89: routes[0].policy.issuers[1]: no issuer is called \"x\"; known: corp",
        ]
    );
}

#[test]
fn patterns_are_canonical_paths() {
    for good in ["/", "/*", "/a/{id}/b", "/a/*", "/caf%C3%A9", "/a:b@c!$&'()+,=~"] {
        let source = route(&format!("paths: [\"{good}\"]"));
        assert_eq!(problems(&source), Vec::<String>::new(), "{good}");
    }
    for (pattern, fault) in [
        ("a", "does not start with /"),
        ("", "does not start with /"),
        ("/a?b=c", "has a query or a fragment; only paths are compared"),
        ("/a//b", "has an empty segment (//)"),
        ("/a/../b", "has a dot segment, which no canonical path has"),
        ("/a/%7Eb", "has %7E, which is written '~'"),
        ("/a%2f", "has %2f, which is written %2F"),
        ("/a%zz", "has a % without two hexadecimal digits"),
        ("/a%00", "has %00, a control character, which is refused"),
        ("/é", "has 'é', which stands in a path only as a percent escape"),
        ("/a%2Fb", "has a character that servers read in different ways, plain or escaped"),
        ("/a;b", "has a character that servers read in different ways, plain or escaped"),
        ("/a./b", "has a character that servers read in different ways, plain or escaped"),
        ("/a%FF", "has a character that servers read in different ways, plain or escaped"),
        ("/a*", "has a * elsewhere than as its last segment"),
        ("/*/a", "has a * elsewhere than as its last segment"),
        ("/{}", "has braces that hold no name"),
        ("/a{b}", "has braces within a segment; {name} stands for a whole one"),
        ("/{a}/{a}", "has the same name in braces twice"),
        ("*", "has a * elsewhere than as its last segment"),
    ] {
        let hint = "write for example /orders, /orders/{id} or \"/orders/*\"";
        assert_eq!(
            problems(&route(&format!("paths: [\"{pattern}\"]"))),
            [format!("2:12: routes[0].paths[0]: {pattern:?} {fault}; {hint}")]
        );
    }
    assert_eq!(
        problems(&route("paths: []")),
        ["2:11: routes[0].paths: a route needs a path; write for example paths: [\"/*\"] for everything"]
    );
}

#[test]
fn hosts_are_names_without_a_port() {
    let source = route("hosts: [API.example.com, '*.example.com', '127.0.0.1', '[::1]']");
    let hosts = load_with(&source, &[]).unwrap().config.routes.remove(0).hosts;
    assert_eq!(hosts, ["api.example.com", "*.example.com", "127.0.0.1", "[::1]"]);
    assert_eq!(
        problems(&route("hosts: ['a:80', 'a.*.com', '']")),
        [
            "2:12: routes[0].hosts[0]: \"a:80\" is not the name of a host; leave the port out; it is not compared",
            "2:20: routes[0].hosts[1]: \"a.*.com\" is not the name of a host; write for example api.example.com or \
             \"*.example.com\"",
            "2:31: routes[0].hosts[2]: \"\" is not the name of a host; write for example api.example.com or \
             \"*.example.com\"",
        ]
    );
}

#[test]
fn methods_are_written_in_capitals() {
    assert_eq!(
        problems(&route("methods: [get, CONNECT, 'A B', PROPFIND]")),
        [
            "2:14: routes[0].methods[0]: \"get\" is not a method; did you mean \"GET\"?",
            "2:19: routes[0].methods[1]: CONNECT opens a tunnel and is never forwarded",
            "2:28: routes[0].methods[2]: \"A B\" is not a method",
        ]
    );
}

#[test]
fn a_life_that_no_credential_has_and_an_expiry_of_nothing_are_found() {
    let of = |credential: &str, route: &str| {
        let source = config(&format!(
            "routes: [{{name: a, paths: [/a], upstream: app, {route}}}]\n\
             upstreams: [{{name: app, url: 'http://a', credential: {{{credential}}}}}]\n\
             internal_jwt: {{issuer: 'http://s', lifetime: 50s}}",
        ));
        problems(&source).iter().map(|text| text.split_once(": ").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    let policy = "policy: {audiences: [a]}";
    assert_eq!(
        of("internal_jwt: {audience: a}", &format!("min_life: 60s, {policy}")),
        ["routes[0].min_life: no internal JWT lives that long: internal_jwt.lifetime is 50s; write less, or raise \
          internal_jwt.lifetime"]
    );
    assert_eq!(
        of("none: {}", &format!("min_life: 60s, {policy}")),
        ["routes[0].min_life: the upstream is shown no credential that expires; leave it out"]
    );
    assert_eq!(
        of("none: {}", "public: true, on_expiry: keep, min_life: 60s"),
        [
            "routes[0].on_expiry: a public route asks for no token, so none expires; leave it out",
            "routes[0].min_life: a public route asks for no token, so none can be too short; leave it out",
        ]
    );
}

#[test]
fn a_request_is_sent_once_more_where_its_credential_can_be_renewed() {
    let of = |credential: &str, route: &str| {
        config(&format!(
            "routes: [{{name: a, paths: [/a], upstream: app, {route}}}]\n\
             upstreams: [{{name: app, url: 'http://a', credential: {{{credential}}}}}]\n\
             internal_jwt: {{issuer: 'http://s'}}",
        ))
    };
    let policy = "policy: {audiences: [a]}";
    let kept = |credential, route: &str| load_with(&of(credential, route), &[]).unwrap().config.routes[0].replay;
    let jwt = "internal_jwt: {audience: a}";
    assert_eq!(kept(jwt, policy), Some(64 * 1024));
    assert_eq!(kept(jwt, &format!("replay: {{max_body_bytes: 0}}, {policy}")), Some(0));
    assert_eq!(kept(jwt, &format!("replay: {{on_401: false}}, {policy}")), None);
    assert_eq!(kept(jwt, &format!("mode: observe, {policy}")), None);
    assert_eq!(kept(jwt, "public: true"), None);
    assert_eq!(kept("original: {}", policy), None);
    let found = |credential, route: &str| {
        let found = problems(&of(credential, route));
        found.iter().map(|text| text.split_once(": ").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        found("none: {}", &format!("replay: {{on_401: true}}, {policy}")),
        ["routes[0].replay: the upstream is shown no credential that sidegate could renew; leave it out"]
    );
    assert_eq!(
        found(jwt, "public: true, replay: {max_body_bytes: 1KiB}"),
        ["routes[0].replay: a public route asks for no token, so no credential can be renewed; leave it out"]
    );
    assert_eq!(
        found(jwt, &format!("replay: {{on_401: false, max_body_bytes: 1KiB}}, {policy}")),
        ["routes[0].replay.max_body_bytes: given, but on_401 is false; leave one of them out"]
    );
    assert_eq!(
        found(jwt, &format!("replay: {{max_body_bytes: 11MiB}}, {policy}")),
        ["routes[0].replay.max_body_bytes: 11.0MiB is not between 0B and 10.0MiB"]
    );
}

#[test]
fn observe_is_refused_where_it_would_let_anyone_in() {
    let source = config(
        "routes: [{name: a, paths: [/a], upstream: app, mode: observe, policy: {audiences: [a]}}]\n\
         upstreams: [{name: app, url: 'http://a', credential: {basic: {username: u, password_file: /dev/null}}}]",
    );
    assert_eq!(
        problems(&source)[0],
        "1:54: routes[0].mode: observe forwards what would be refused, and this upstream's credential is basic: it would \
         let it in; use enforce, or an upstream with another credential"
    );
}

#[test]
fn prefixes_are_paths_without_a_slash_at_the_end() {
    assert_eq!(
        problems(&route("strip_prefix: /api/, add_prefix: v1")),
        [
            "2:18: routes[0].strip_prefix: \"/api/\" ends with /; write for example /api/v1",
            "2:37: routes[0].add_prefix: \"v1\" does not start with /; write for example /api/v1",
        ]
    );
}

#[test]
fn the_token_stands_in_a_header_that_is_passed_on() {
    assert_eq!(
        problems(&route("token: {header: Connection, query_parameter: 'a&b'}, pass_headers: [Upgrade]")),
        [
            "2:20: routes[0].token.header: connection belongs to a single connection or frames the message",
            "2:49: routes[0].token.query_parameter: \"a&b\" is not the name of a parameter; use letters, digits, \"-\", \
             \".\", \"_\" and \"~\"",
            "2:72: routes[0].pass_headers[0]: upgrade belongs to a single connection or frames the message",
        ]
    );
    assert_eq!(
        problems(&route("token: {header: cookie}")),
        ["2:20: routes[0].token.header: a cookie is not a bearer token"]
    );
}

#[test]
fn the_host_is_kept_exchanged_or_named() {
    let host = |text: &str| load_with(&route(&format!("host: '{text}'")), &[]).unwrap().config.routes.remove(0).host;
    assert_eq!(host("preserve"), HostHeader::Preserve);
    assert_eq!(host("upstream"), HostHeader::Upstream);
    assert_eq!(host("a.internal:80"), HostHeader::Named("a.internal:80".parse().unwrap()));
    assert_eq!(
        problems(&route("host: 'a b'")),
        ["2:10: routes[0].host: \"a b\" is not the name of a host; write preserve, upstream or a name such as \
             orders.internal"]
    );
}

#[test]
fn rates_and_sizes_and_timeouts_have_defaults() {
    let source = route("max_body_bytes: 0, timeouts: {idle: 5m}, rate_limit: {per_address: {requests: 20}}");
    let route = load_with(&source, &[]).unwrap().config.routes.remove(0);
    assert_eq!(route.max_body_bytes, None);
    assert_eq!(route.rate_per_address, Some(Rate { interval: Duration::from_millis(50), burst: 20 }));
    assert_eq!(route.rate_per_principal, None);
    assert_eq!((route.timeouts.idle, route.timeouts.connect), (Duration::from_secs(300), Duration::from_secs(2)));
    assert_eq!(
        problems(&super::route("rate_limit: {per_address: {requests: 0, burst: 0, per: 1ms}, per_principal: {}}")),
        [
            "2:41: routes[0].rate_limit.per_address.requests: 0 is not between 1 and 1000000",
            "2:51: routes[0].rate_limit.per_address.burst: 0 is not between 1 and 1000000",
            "2:59: routes[0].rate_limit.per_address.per: 1ms is not between 100ms and 1day",
            "2:80: routes[0].rate_limit.per_principal.requests: missing; write for example \
             { requests: 100, per: 1s, burst: 200 }",
        ]
    );
}

#[test]
fn cors_is_answered_forwarded_or_left_alone() {
    let of = |more: &str| {
        let route = load_with(&route(more), &[]).unwrap().config.routes.remove(0);
        (route.cors.map(|cors| cors.origins), route.preflight)
    };
    assert_eq!(of("mode: enforce"), (None, Preflight::Ignore));
    assert_eq!(of("cors: {preflight: forward}"), (None, Preflight::Forward));
    assert_eq!(of("cors: {origins: ['*']}"), (Some(Origins::Any), Preflight::Answer));
}

#[test]
fn cors_lists_origins_as_browsers_write_them() {
    let exact = "write scheme, host and port only, in lower case, without the scheme's own port and a slash at the end";
    for (origin, fault, remedy) in [
        ("https://a.example/", "is not how a browser writes an origin", exact),
        ("https://A.example", "is not how a browser writes an origin", exact),
        ("https://a.example:443", "is not how a browser writes an origin", exact),
        ("null", "is not an origin", "write for example https://app.example.com"),
    ] {
        assert_eq!(
            problems(&route(&format!("cors: {{origins: [\"{origin}\"]}}"))),
            [format!("2:21: routes[0].cors.origins[0]: {origin:?} {fault}; {remedy}")]
        );
    }
    assert_eq!(
        problems(&route("cors: {origins: ['*'], credentials: true}")),
        [
            "2:40: routes[0].cors.credentials: with origins: [\"*\"] every page in the world could act as the user; list \
             the origins, or set credentials: false"
        ]
    );
    assert_eq!(
        problems(&route("cors: {origins: ['*', 'https://a.example']}")),
        ["2:20: routes[0].cors.origins: \"*\" already covers every other origin; write it alone, or leave it out"]
    );
    assert_eq!(
        problems(&route("cors: {}")),
        ["2:10: routes[0].cors.origins: missing: no page could be allowed; write for example origins: \
             [\"https://app.example.com\"], or preflight: forward"]
    );
}

#[test]
fn two_routes_differ_in_name() {
    assert_eq!(
        problems(&config(
            "routes:\n- {name: a, paths: [/a], upstream: app, public: true}\n- {name: a, paths: [/b], upstream: app, public: true}"
        )),
        ["3:10: routes[1].name: \"a\" is already used by routes[0]"]
    );
}

#[test]
fn scopes_and_claims_can_be_met() {
    assert_eq!(
        problems(&route("policy: {audiences: [''], scopes_all: ['a b'], claims: {tenant: []}}")),
        [
            "2:25: routes[0].policy.audiences[0]: empty",
            "2:43: routes[0].policy.scopes_all[0]: \"a b\" is not one scope; write each as an item of its own",
            "2:68: routes[0].policy.claims.tenant: no value would be accepted; write for example tenant: [acme]",
        ]
    );
}

#[test]
fn the_realm_and_the_identifier_fit_a_challenge() {
    assert_eq!(
        problems(&config("resource: {realm: 'a\"b', identifier: 'http://api.example.com'}")),
        [
            "1:19: resource.realm: \"a\\\"b\" cannot stand between quotes in a header",
            "1:38: resource.identifier: \"http://api.example.com\" is not https, so whoever is in between could exchange \
             what is read from it; use https; http is accepted on this machine only",
        ]
    );
}
