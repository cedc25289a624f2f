//! `sidegate check`.

use std::path::Path;

use super::{REST, Setup, binary};
use crate::support::issuer::scratch;

fn check(file: &Path) -> (i32, String, String) {
    let output = binary().arg("check").arg("-c").arg(file).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn check_warns_of_a_public_sibling_and_is_good_all_the_same() {
    let setup = Setup::new();
    let (code, out, err) = check(&setup.config());
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("6 route(s), 2 of them public; 0 warning(s)."), "{out}{err}");

    let gap = "  - { name: slash, paths: [/orders2/], upstream: app, public: true }\n  \
               - { name: bare, paths: [/orders2], upstream: app, policy: { audiences: [a] } }\n";
    setup.write(&format!("{}{REST}{gap}", setup.issuer.yaml()));
    let (code, out, err) = check(&setup.config());
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("1 warning(s)"), "{out}");
    let warning = "routes[7]: `/orders2` is protected, but `/orders2/` is public";
    assert!(err.contains(warning) && err.contains("(route `slash`)"), "{err}");
}

#[test]
fn warnings_fail_only_where_they_are_denied_and_not_accepted() {
    let file = scratch("denied").join("c.yaml");
    let yaml = "issuers: [{ name: corp, issuer: \"https://idp.example.com\" }]\n\
                upstreams: [{ name: app, url: \"http://127.0.0.1:9\" }]\n\
                routes:\n  - { name: site, paths: [\"/*\"], upstream: app, public: true }\n  \
                - { name: admin, paths: [\"/admin\", \"/admin/*\"], upstream: app, policy: { audiences: [api] } }\n";
    std::fs::write(&file, yaml).unwrap();
    let run = |more: &[&str]| {
        let output = binary().arg("check").arg("-c").arg(&file).args(more).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = run(&[]);
    assert_eq!((code, told.lines().count()), (0, 1), "{told}");
    assert!(told.contains("routes[0]: `/*` is public, and so is whatever the upstream adds beside"), "{told}");
    assert_eq!(run(&["--deny-warnings"]).0, 2);
    assert_eq!(run(&["--deny-warnings", "--accept", "routes[0]"]).0, 0);
    assert_eq!(run(&["--deny-warnings", "--accept", "routes[1]"]).0, 2);
}

#[test]
fn check_refuses_routes_that_conflict() {
    let setup = Setup::new();
    let twin = "  - { name: twin, paths: [/healthz], upstream: app, public: true }\n";
    setup.write(&format!("{}{REST}{twin}", setup.issuer.yaml()));
    let (code, out, err) = check(&setup.config());
    assert_eq!((code, out.as_str()), (64, ""));
    assert!(err.contains("routes `health` and `twin` both take `/healthz`") && err.contains("1 problem(s)"), "{err}");
}

#[test]
fn check_names_every_problem_with_its_place() {
    let setup = Setup::new();
    setup.write(&format!("{}{REST}\nworkers: many\nlog: {{ level: loud }}\n", setup.issuer.yaml()));
    let (code, _, err) = check(&setup.config());
    assert_eq!(code, 64);
    assert!(err.contains("workers") && err.contains("log.level") && err.contains("2 problem(s)"), "{err}");
}
