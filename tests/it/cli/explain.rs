//! What a demanding reader finds in a report: headers one by one, claims one by one, near misses, the decision listener.

use serde_json::{Value, json};

use super::{REST, Setup, details, stdout, step};
use crate::support::issuer::{Key, now, sign_with};

#[test]
fn every_header_that_does_not_go_on_says_why() {
    let setup = Setup::new();
    let said = [
        ("Connection: x-hop", "x-hop", "the client's `Connection` names it", false),
        ("X-Hop: a", "connection", "it belongs to one connection", false),
        ("Remote-User: root", "remote-user", "it says who the client is", false),
        ("X-Forwarded-User: root", "x-forwarded-user", "it says who the client is", true),
        ("X_Forwarded_User: root", "x_forwarded_user", "another spelling", false),
        ("X-Forwarded-For: 192.0.2.1", "x-forwarded-for", "not in `trusted_proxies`", true),
        ("True-Client-IP: 192.0.2.1", "true-client-ip", "proxies pass it on", false),
        ("X-HTTP-Method-Override: DELETE", "x-http-method-override", "another method or URL", false),
    ];
    let mut arguments: Vec<&str> = said.iter().flat_map(|(header, ..)| ["-H", header]).collect();
    arguments.extend(["-H", "Accept: text/plain", "/orders"]);
    let (code, report) = setup.json(&setup.issuer.token(), &arguments);
    assert_eq!(code, 0, "{report:#}");
    let removed = report["upstream"]["removed"].as_array().unwrap();
    assert_eq!(removed.len(), said.len() + 1, "and the token: {removed:#?}");
    for (_, name, why, replaced) in said {
        let header = removed.iter().find(|header| header["name"] == name).unwrap_or_else(|| panic!("{name}"));
        assert!(header["why"].as_str().unwrap().contains(why), "{header}");
        assert_eq!(header["replaced"], replaced, "{header}");
    }
    let set: Vec<&str> =
        report["upstream"]["set"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for name in ["authorization", "x-forwarded-user", "x-forwarded-email", "x-forwarded-proto", "x-request-id"] {
        assert!(set.contains(&name), "{name} in {set:?}");
    }
    assert!(!set.contains(&"accept") && !set.contains(&"host"), "{set:?}");

    let text = stdout(&setup.explain(&setup.issuer.token(), &arguments));
    assert!(text.contains("    authorization: it is where the client's credential stands, and says its own"), "{text}");
    let text = stdout(&setup.explain("", &["/open/x"]));
    assert!(!text.contains("took these"), "{text}");
}

#[test]
fn the_header_and_the_claims_of_a_token_are_checked_one_by_one() {
    let setup = Setup::new();
    let issuer = &setup.issuer;
    let marks = |token: &str| {
        let (_, report) = setup.json(token, &["/orders"]);
        let details = step(&report, "validation")["details"].as_array().unwrap().clone();
        let told = details.iter().filter(|detail| !detail["mark"].is_null());
        told.map(|detail| format!("{} {}", detail["mark"].as_str().unwrap(), detail["says"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    let good = marks(&issuer.token());
    assert!(good.iter().all(|told| told.starts_with("good")), "{good:#?}");
    for says in
        ["good `alg` is ES256; accepted: ", "good `typ` is ", "good fresh: expires in", "good the signature is right"]
    {
        assert!(good.iter().any(|told| told.starts_with(says)), "{says}: {good:#?}");
    }
    // Not only the first that is wrong.
    let bad = sign_with(&Key::es256("k1"), &{
        let mut claims = issuer.claims();
        claims["exp"] = json!(now() - 3600);
        claims["nbf"] = json!(now() + 3600);
        claims["sub"] = json!(7);
        claims
    });
    let bad = marks(&bad);
    for says in [
        "refused expired 1h",
        "refused good in",
        "refused the claim sub has a wrong type",
        "refused the signature is wrong",
    ] {
        assert!(bad.iter().any(|told| told.starts_with(says)), "{says}: {bad:#?}");
    }
}

#[test]
fn where_no_route_is_near_the_nearest_ones_say_what_they_miss() {
    let setup = Setup::new();
    let (_, report) = setup.json("", &["-X", "DELETE", "/healthz/x"]);
    let told = details(step(&report, "route"));
    assert_eq!(told, "`health` covers /healthz: not this path, not this method (it takes GET)");
    let (_, report) = setup.json("", &["/tenant"]);
    let told = details(step(&report, "route"));
    assert_eq!(told, "`tenant` covers /tenant/*: not this path, not this host (it is of tenant.example.com)");
    assert_eq!(details(step(&setup.json("", &["/elsewhere"]).1, "route")).lines().count(), 7);
}

#[test]
fn what_holds_once_the_request_is_on_its_way_is_told() {
    let setup = Setup::new();
    let (_, report) = setup.json(&setup.issuer.token(), &["/orders"]);
    let told = details(step(&report, "upstream"));
    for says in ["connected within", "renewed and the request sent once more", "on_expiry: close_when_session_ends"] {
        assert!(told.contains(says), "{says}: {told}");
    }
    let origin = |origin: &str| {
        let header = format!("Origin: {origin}");
        let (_, report) = setup.json(&setup.issuer.token(), &["-H", &header, "/orders"]);
        step(&report, "cors")["says"].as_str().unwrap().to_owned()
    };
    assert!(origin("https://app.example.com").contains("may read the answer"));
    assert!(origin("https://evil.example.com").contains("may not read the answer"));
}

#[test]
fn a_listener_that_decides_shows_what_the_proxy_is_told() {
    let setup = Setup::new();
    let decide = "listeners: [{ name: main, address: \"127.0.0.1:0\" }, { name: decide, address: \"127.0.0.1:1\", decision: \
                  { from: nginx } }]";
    let rest = REST.replace("listeners: [{ name: main, address: \"127.0.0.1:0\" }]", decide);
    setup.write(&format!("{}{rest}", setup.issuer.yaml()));
    let token = setup.issuer.token();
    let (code, report) = setup.json(&token, &["--listener", "decide", "/orders?a=b"]);
    assert_eq!((code, &report["verdict"]["outcome"]), (0, &json!("allowed")), "{report:#}");
    assert_eq!(report["upstream"], Value::Null);
    let answer = &report["answer"];
    let headers = answer["headers"].as_array().unwrap();
    for header in [["authorization", "Bearer …"], ["x-forwarded-user", "ana"], ["x-sidegate-target", "/orders?a=b"]] {
        assert!(headers.contains(&json!(header)), "{header:?} in {answer:#}");
    }
    assert_eq!(answer["copied"], json!(["authorization", "x-forwarded-user", "x-forwarded-email", "x-token"]));
    assert_eq!(answer["removed"], json!(["x-token"]));

    for (token, arguments, at, status) in [
        ("", &["/orders"][..], "token", 401),
        (&token, &["/watched/../orders"], "path", 400),
        (&token, &["-H", "Remote-User: root", "/orders"], "decision", 400),
        (&token, &["/.well-known/sidegate/jwks.json"], "documents", 404),
        (
            "",
            &[
                "-X",
                "OPTIONS",
                "-H",
                "Origin: https://app.example.com",
                "-H",
                "Access-Control-Request-Method: GET",
                "/orders",
            ],
            "cors",
            403,
        ),
    ] {
        let (code, report) = setup.json(token, &[&["--listener", "decide"][..], arguments].concat());
        let last = report["steps"].as_array().unwrap().last().unwrap();
        assert_eq!((code, &last["step"], &last["mark"]), (2, &json!(at), &json!("refused")), "{report:#}");
        assert_eq!(report["verdict"]["status"], status, "{report:#}");
    }
    let text = stdout(&setup.explain(&token, &["--listener", "decide", "/orders"]));
    assert!(text.contains("It copies authorization, x-forwarded-user, x-forwarded-email, x-token to"), "{text}");
    assert!(text.contains("Allowed: by route `orders`; the proxy that asks forwards it."), "{text}");
    let unknown = setup.explain("", &["--listener", "other", "/orders"]);
    assert_eq!(unknown.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there is no listener `other`"));
}
