//! Listeners, `health`, `admin` and their files.

use super::{files::Folder, *};
use crate::model::Questions;

#[test]
fn addresses_are_numbers_or_sockets() {
    let source = config(
        "listeners: [{name: a, address: 'localhost:81'}, {name: b, address: 'unix:run/s.sock'}, {name: c, address: '[::1]:0'}]",
    );
    let listeners = load_with(&source, &[]).unwrap().config.listeners;
    assert_eq!(listeners[0].address, Address::Tcp("127.0.0.1:81".parse().unwrap()));
    assert_eq!(listeners[1].address, Address::Unix("/nowhere/run/s.sock".into()));
    assert_eq!(listeners[2].address, Address::Tcp("[::1]:0".parse().unwrap()));
    assert_eq!(
        problems(&config("listeners: [{name: a, address: 'example.com:80'}, {name: b, address: 'unix:/'}]")),
        [
            "1:32: listeners[0].address: \"example.com:80\" is not an address to listen on; write 127.0.0.1:8080, \
             [::1]:8080, 0.0.0.0:8080 or unix:/run/sidegate.sock",
            "1:70: listeners[1].address: this is not the path of a socket of up to 107 bytes; write unix:/run/app.sock",
        ]
    );
}

#[test]
fn two_listeners_differ_in_name_and_address() {
    let source = config(
        "listeners:\n- address: 127.0.0.1:1\n- address: 127.0.0.1:1\nhealth: {address: '127.0.0.1:1'}\n\
         admin: {address: '127.0.0.1:1'}",
    );
    assert_eq!(
        problems(&source),
        [
            "3:3: listeners[1].name: \"main\" is already used by listeners[0]",
            "3:12: listeners[1].address: \"127.0.0.1:1\" is already used by listeners[0]",
            "4:19: health.address: \"127.0.0.1:1\" is already used by listeners[0]",
            "5:18: admin.address: \"127.0.0.1:1\" is already used by listeners[0]",
        ]
    );
}

#[test]
fn admin_is_reached_from_this_machine_only() {
    assert_eq!(
        problems(&config("admin: {address: '0.0.0.0:9902'}")),
        [
            "1:18: admin.address: \"0.0.0.0:9902\" can be reached from other machines; use 127.0.0.1, [::1] or unix:/path"
        ]
    );
    assert_eq!(problems(&config("admin: {address: 'unix:/run/admin.sock'}")), Vec::<String>::new());
    assert_eq!(
        problems(&config("health: {}")),
        ["1:9: health.address: missing; write for example address: 127.0.0.1:9901"]
    );
}

#[test]
fn a_listener_needs_a_version_and_a_name_that_is_a_label() {
    assert_eq!(
        problems(&config("listeners: [{name: 'a b', protocols: []}]")),
        [
            "1:20: listeners[0].name: \"a b\" is not a name; use up to 64 letters, digits, \"-\", \"_\" and \".\"",
            "1:38: listeners[0].protocols: empty; write for example protocols: [http1, http2]",
        ]
    );
    assert_eq!(
        problems(&config("listeners: []")),
        ["1:12: listeners: empty, so nobody could connect; leave the key out for one listener on 127.0.0.1:8080"]
    );
}

#[test]
fn the_proxy_protocol_needs_a_trusted_proxy() {
    assert_eq!(
        problems(&config("listeners: [{proxy_protocol: required}]\ntrusted_proxies: []")),
        ["1:30: listeners[0].proxy_protocol: required, but only trusted_proxies may send it and none is named; \
             name the network of the proxy in trusted_proxies"]
    );
    let good = config("listeners: [{proxy_protocol: required}]\ntrusted_proxies: [10.0.0.0/8, 192.0.2.1, 'fd00::/8']");
    assert_eq!(load_with(&good, &[]).unwrap().config.trusted_proxies.len(), 3);
    assert_eq!(
        problems(&config("trusted_proxies: [10.0.0.0/33]")),
        ["1:19: trusted_proxies[0]: \"10.0.0.0/33\" is not a network; write for example 10.0.0.0/8"]
    );
}

fn with_tls(folder: &Folder, tls: &str) -> Result<Loaded, Problems> {
    let source = config(&format!("listeners: [{{tls: {{{tls}}}}}]"));
    load_str(&source, "c.yaml", folder.path(), &Environment::default())
}

#[test]
fn a_certificate_and_its_key_must_fit() {
    let folder = Folder::new();
    folder.certificate("a");
    folder.certificate("b");
    folder.write("empty", "");
    let good = with_tls(&folder, "certificate_file: a.pem, key_file: a.key").unwrap().config;
    assert_eq!(good.listeners[0].tls.as_ref().unwrap().key_file.path(), folder.path().join("a.key"));
    let answer = |tls| lines(with_tls(&folder, tls).map(|loaded| loaded.config));
    assert_eq!(
        answer("certificate_file: a.pem, key_file: b.key"),
        ["1:55: listeners[0].tls.key_file: the key does not belong to the certificate"]
    );
    assert_eq!(
        answer("certificate_file: a.key, key_file: a.pem"),
        [
            "1:38: listeners[0].tls.certificate_file: the file holds no certificate in PEM; it starts with \
             -----BEGIN CERTIFICATE-----",
            "1:55: listeners[0].tls.key_file: the file holds no private key in PEM; it starts with \
             -----BEGIN PRIVATE KEY-----",
        ]
    );
    assert_eq!(
        answer("certificate_file: empty"),
        ["1:19: listeners[0].tls.key_file: missing; write for example key_file: tls/server.key"]
    );
    assert_eq!(
        answer("certificate_file: empty, key_file: a.key"),
        ["1:38: listeners[0].tls.certificate_file: the file is empty"]
    );
}

#[test]
fn clients_certificates_need_who_signs_them() {
    let folder = Folder::new();
    folder.certificate("a");
    let pair = "certificate_file: a.pem, key_file: a.key";
    let answer = |more: &str| lines(with_tls(&folder, &format!("{more}, {pair}")).map(|loaded| loaded.config));
    assert_eq!(
        answer("client_certificates: required"),
        ["1:19: listeners[0].tls.client_ca_file: missing; name the certificates that sign the clients' ones"]
    );
    assert_eq!(
        answer("client_ca_file: a.pem"),
        ["1:36: listeners[0].tls.client_ca_file: given, but client certificates are off; \
             set client_certificates: required"]
    );
    assert_eq!(answer("client_certificates: optional, client_ca_file: a.pem"), Vec::<String>::new());
}

#[test]
fn a_missing_file_is_named() {
    assert_eq!(
        problems(&config("listeners: [{tls: {certificate_file: a.pem, key_file: /b.key}}]")),
        [
            "1:38: listeners[0].tls.certificate_file: \"/nowhere/a.pem\" cannot be read: there is no such file",
            "1:55: listeners[0].tls.key_file: \"/b.key\" cannot be read: there is no such file",
        ]
    );
}

#[test]
fn what_works_and_is_not_wise_is_a_warning() {
    let folder = Folder::new();
    folder.certificate("a");
    let key = folder.path().join("a.key");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
    let warnings = with_tls(&folder, "certificate_file: a.pem, key_file: a.key").unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(
        warnings[0].to_string(),
        format!(
            "c.yaml:1:55: listeners[0].tls.key_file: every user of this machine can read {key:?}; \
             give it mode 0400 or 0440"
        )
    );
    let source = config("listeners: [{address: '0.0.0.0:8080'}]\ntrusted_proxies: [0.0.0.0/0]");
    let warnings: Vec<_> = load_with(&source, &[]).unwrap().warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["c.yaml:2:19: trusted_proxies[0]: every peer is trusted, so every client can claim any address; name the \
             network of the proxies",]
    );
}

#[test]
fn the_token_of_operators_is_long_enough_and_may_be_left_out() {
    let made = Folder::new();
    made.write("good", "0123456789abcdef0123456789abcdef\n");
    made.write("short", "hunter2\n");
    let load = |file: &str| {
        let source = config(&format!("admin: {{ address: '127.0.0.1:9902', token_file: {file} }}\n"));
        load_str(&source, "c.yaml", made.path(), &Environment::default())
    };
    let admin = load("good").unwrap().config.admin.unwrap();
    assert_eq!(admin.token.unwrap().expose(), "0123456789abcdef0123456789abcdef");
    let problems = lines(load("short").map(|loaded| loaded.config));
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("16 or more visible characters") && !problems[0].contains("hunter2"), "{problems:?}");
    let source = config("admin: { address: '127.0.0.1:9902' }\n");
    assert!(load_with(&source, &[]).unwrap().config.admin.unwrap().token.is_none());
}

#[test]
fn audit_lines_go_to_one_place_that_can_be_there() {
    let made = Folder::new();
    let load = |audit: &str| {
        load_str(&config(&format!("log: {{ audit: {audit} }}\n")), "c.yaml", made.path(), &Environment::default())
    };
    assert_eq!(load("{}").unwrap().config.log.audit, Audit::Stderr);
    assert_eq!(load("{ stderr: {} }").unwrap().config.log.audit, Audit::Stderr);
    assert_eq!(load("{ file: a.jsonl }").unwrap().config.log.audit, Audit::File(made.path().join("a.jsonl")));
    for (wrong, problem) in [
        ("{ stderr: {}, file: a }", "stderr and file at once"),
        ("{ file: nowhere/a }", "lies in a folder that is not there"),
        ("{ file: . }", "is a folder"),
    ] {
        let problems = lines(load(wrong).map(|loaded| loaded.config));
        assert!(problems.len() == 1 && problems[0].contains(problem), "{problems:?}");
    }
}

#[test]
fn a_decision_listener_says_how_it_is_asked_and_who_may_ask() {
    let decisions = |yaml: &str| {
        let listeners = load_with(&config(yaml), &[]).unwrap().config.listeners;
        listeners.into_iter().map(|listener| listener.decision).collect::<Vec<_>>()
    };
    assert_eq!(
        decisions(
            "listeners: [{name: a}, {name: b, address: 'unix:/b', decision: {from: nginx}}, {name: c, address: '[::1]:0', \
             decision: {from: forwarded}}, {name: d, address: '127.0.0.1:0', decision: {from: envoy, path_prefix: /ask}}]"
        ),
        [
            None,
            Some(Questions::Nginx),
            Some(Questions::Forwarded),
            Some(Questions::Envoy { path_prefix: "/ask".into() }),
        ]
    );
    assert_eq!(
        problems(&config("listeners: [{address: '0.0.0.0:9903', decision: {from: nginx}}]")),
        ["1:23: listeners[0].address: only the proxies in trusted_proxies may ask from other machines, and none is \
             named; name the network of the proxy in trusted_proxies, or use 127.0.0.1 or unix:/path"]
    );
    assert_eq!(
        problems(&config(
            "trusted_proxies: [10.0.0.0/8]\nlisteners: [{decision: {}}, {name: b, address: '127.0.0.1:1', proxy_protocol: \
             required, decision: {from: nginx, path_prefix: /ask}}, {name: c, address: '127.0.0.1:2', decision: {from: \
             envoy, path_prefix: ask/}}]"
        )),
        [
            "2:24: listeners[0].decision.from: missing; write from: nginx, from: forwarded (Traefik, Caddy) or from: envoy",
            "2:79: listeners[1].proxy_protocol: what asks at a decision listener is the proxy itself, which sends no \
             header of this kind; leave it out",
            "2:126: listeners[1].decision.path_prefix: the target of the request is in a header here; leave it out",
            "2:205: listeners[2].decision.path_prefix: \"ask/\" does not start with /; write what path_prefix of Envoy's \
             http_service is, for example /ask",
        ]
    );
}

#[test]
fn what_a_proxy_that_asks_cannot_do_is_warned_of() {
    let source = "
listeners: [{decision: {from: nginx}}]
issuers: [{name: corp, issuer: 'https://idp.example.com'}]
upstreams: [{name: api, url: 'http://127.0.0.1:1'}]
routes:
- {name: a, paths: ['/a/*'], upstream: api, policy: {audiences: [x]}, strip_prefix: /a, host: upstream}
- {name: b, paths: ['/b/*'], upstream: api, policy: {audiences: [x]}, token: {query_parameter: t}, cors: {origins: ['https://a.example']}}
- {name: c, paths: ['/c/*'], upstream: api, policy: {audiences: [x]}, cors: {origins: ['https://a.example'], preflight: forward}}
";
    let warned = load_with(source, &[]).unwrap().warnings;
    let places: Vec<String> = warned.iter().map(|warning| warning.path.to_string()).collect();
    assert_eq!(
        places,
        ["routes[0].strip_prefix", "routes[0].host", "routes[1].token.query_parameter", "routes[1].cors"]
    );
    assert_eq!(
        warned[0].to_string().split_once(": ").unwrap().1,
        "routes[0].strip_prefix: a proxy that asks at listener `main` forwards the path as it came; let the proxy forward \
         what the answer's X-Sidegate-Target says (docs/decision.md)"
    );
}
