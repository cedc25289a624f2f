use std::time::Duration;

use super::*;
use crate::config::{HostHeader, OnExpiry, Policy, Preflight, Timeouts, TokenPlace};
use crate::proxy::path::canonical;

/// A route that asks for the audience `audience`; public without one.
pub fn route(name: &str, paths: &[&str], audience: Option<&str>) -> Route {
    let second = Duration::from_secs(1);
    Route {
        name: name.into(),
        hosts: Vec::new(),
        paths: paths.iter().map(|&path| path.to_owned()).collect(),
        methods: Vec::new(),
        upstream: 0,
        policy: audience.map(|audience| Policy { audiences: vec![audience.to_owned()], ..Policy::default() }),
        observe: false,
        token: TokenPlace { header: http::header::AUTHORIZATION, query_parameter: None, basic: None },
        host: HostHeader::Preserve,
        strip_prefix: String::new(),
        add_prefix: String::new(),
        allow_encoded_slashes: false,
        max_body_bytes: None,
        rate_per_principal: None,
        rate_per_address: None,
        cors: None,
        preflight: Preflight::Ignore,
        pass_headers: Vec::new(),
        on_expiry: OnExpiry::CloseWhenSessionEnds,
        min_life: Duration::ZERO,
        replay: None,
        timeouts: Timeouts { connect: second, first_byte: second, idle: second },
    }
}

fn on(hosts: &[&str], route: Route) -> Route {
    Route { hosts: hosts.iter().map(|&host| host.to_owned()).collect(), ..route }
}

fn with(methods: &[Method], route: Route) -> Route {
    Route { methods: methods.to_vec(), ..route }
}

/// Which route of `routes` answers, by its name, or the code of the refusal.
fn ask(routes: &[Route], method: Method, host: &str, path: &str) -> String {
    let table = Routes::build(routes).unwrap();
    match table.find(host, &canonical(path).unwrap(), &method) {
        Ok(index) => routes[index].name.to_string(),
        Err(error) => error.code().to_owned(),
    }
}

fn get(routes: &[Route], path: &str) -> String {
    ask(routes, Method::GET, "h", path)
}

#[test]
fn the_most_specific_path_wins() {
    let routes = [
        route("all", &["/*"], Some("a")),
        route("below", &["/x/*"], Some("a")),
        route("one", &["/x/{id}"], Some("a")),
        route("literal", &["/x/new"], Some("a")),
        route("deep", &["/x/{id}/parts/{part}"], Some("a")),
        route("other", &["/{a}/old"], Some("a")),
    ];
    for (path, name) in [
        ("/", "all"),
        ("/x", "all"),
        ("/x/", "below"),
        ("/x/7", "one"),
        ("/x/new", "literal"),
        ("/x/7/", "below"),
        ("/x/7/parts/8", "deep"),
        ("/x/7/parts", "below"),
        ("/x/old", "one"),
        ("/y/old", "other"),
        ("/xy", "all"),
    ] {
        assert_eq!(get(&routes, path), name, "{path}");
    }
}

#[test]
fn the_most_specific_host_wins_before_the_path() {
    let routes = [
        route("any", &["/*", "/only/here"], Some("a")),
        on(&["*.example.com"], route("wide", &["/*"], Some("a"))),
        on(&["*.api.example.com"], route("narrow", &["/*"], Some("a"))),
        on(&["a.api.example.com", "[::1]"], route("name", &["/x/*"], Some("a"))),
    ];
    for (host, path, name) in [
        ("a.api.example.com", "/x/1", "name"),
        ("A.API.example.com.:8443", "/x/1", "name"),
        ("a.api.example.com", "/y", "narrow"),
        ("b.example.com", "/x/1", "wide"),
        ("example.com", "/x/1", "any"),
        ("evilexample.com", "/only/here", "any"),
        ("b.example.com", "/only/here", "wide"),
        ("[0:0::1]:8080", "/x/1", "name"),
    ] {
        assert_eq!(ask(&routes, Method::GET, host, path), name, "{host}{path}");
    }
}

#[test]
fn a_less_specific_pattern_is_tried_for_another_method() {
    let routes = [
        with(&[Method::GET], route("read", &["/x/{id}"], Some("a"))),
        with(&[Method::PUT], route("write", &["/x/{id}"], Some("a"))),
        with(&[Method::DELETE], route("all", &["/x/*"], Some("a"))),
        with(&[Method::PATCH], route("crossing", &["/{a}/b"], Some("a"))),
    ];
    assert_eq!(ask(&routes, Method::GET, "", "/x/1"), "read");
    assert_eq!(ask(&routes, Method::PUT, "", "/x/1"), "write");
    assert_eq!(ask(&routes, Method::DELETE, "", "/x/1"), "all");
    assert_eq!(ask(&routes, Method::PATCH, "", "/x/b"), "crossing");
    assert_eq!(ask(&routes, Method::HEAD, "", "/x/1"), "method_not_allowed");
    let refusal = Routes::build(&routes).unwrap().find("", &canonical("/x/b").unwrap(), &Method::POST);
    let allow = HeaderValue::from_static("DELETE, GET, PATCH, PUT");
    assert_eq!(refusal, Err(RouteError::MethodNotAllowed { allow }));
    assert_eq!(ask(&routes, Method::GET, "", "/z"), "no_route");
}

#[test]
fn every_conflict_is_named() {
    let routes = [
        route("a", &["/x/{id}", "/same", "/same"], None),
        with(&[Method::GET], route("b", &["/x/{other}"], None)),
        on(&["h"], route("c", &["/x/{id}", "/a{b}", "/*/c", "/a//b", "/a;b", "/../a", "a", "/a%2Fb", "/x."], None)),
        with(&[Method::GET], route("d", &["/y"], None)),
        with(&[Method::POST], route("e", &["/%79"], None)),
    ];
    let conflicts = Routes::build(&routes).unwrap_err();
    let texts: Vec<String> = conflicts.iter().map(Conflict::to_string).collect();
    assert_eq!(texts[0], "routes `a` and `b` both take `/x/{other}`; give them different methods, hosts or paths");
    assert_eq!(texts.len(), 9, "{texts:#?}");
    assert!(texts[1..].iter().all(|text| text.starts_with("route `c`: the path `")), "{texts:#?}");
}

#[test]
fn an_escaped_letter_in_a_pattern_is_the_letter() {
    let routes = [route("joe", &["/%7ejoe/caf%c3%a9"], Some("a"))];
    assert_eq!(get(&routes, "/~joe/caf%C3%A9"), "joe");
}

#[test]
fn a_public_route_is_refused_when_the_upstream_could_read_a_protected_path() {
    let routes = [route("public", &["/*"], None), route("admin", &["/admin", "/admin/*", "/Secret/*"], Some("a"))];
    for path in [
        "/x/..%252fadmin",
        "/x/%252e%252e/admin",
        "/x/..;/admin/",
        "//admin/x",
        "//x/admin",
        "/admin;x=1",
        "/admin;/users",
        "/admin./x",
        "/admin%20/x",
        "/admin%2500",
        "/%2561dmin/x",
        "/ADMIN/x",
        "/Admin",
        "/secret/x",
        "/x/..%255cadmin",
        "/%EF%BD%81dmin/x",
        "/admin%3Fx",
        "/admin%23",
    ] {
        assert_eq!(get(&routes, path), "ambiguous_path", "{path}");
    }
    for path in ["/x/..%2fadmin", "/admin%2fx"] {
        assert_eq!(get(&routes, path), "encoded_slash", "{path}");
    }
    for path in ["/x/a%20b", "/x;y=1", "/X//y", "/caf%C3%A9", "/x.", "/a%2520b", "/admins/"] {
        assert_eq!(get(&routes, path), "public", "{path}");
    }
    assert_eq!(get(&routes, "/Secret/x"), "admin");
}

#[test]
fn a_protected_route_is_no_way_to_another_one_nor_to_what_no_route_covers() {
    let other_upstream = Route { upstream: 1, ..route("elsewhere", &["/c/*"], Some("a")) };
    let routes = [
        route("a", &["/a/*"], Some("a")),
        route("twin", &["/a2/*"], Some("a")),
        route("b", &["/b/*"], Some("b")),
        other_upstream,
        route("open", &["/open/*"], None),
    ];
    for target in ["/b/x", "/c/x", "/open/x", "/nowhere"] {
        assert_eq!(get(&routes, &format!("/a/..;{target}")), "ambiguous_path", "{target}");
    }
    assert_eq!(get(&routes, "/a/..;/a2/x"), "a");
    assert_eq!(get(&routes, "/a/b;v=1/c%20d"), "a");
}

#[test]
fn an_encoded_slash_needs_a_route_that_allows_it() {
    let allowing = Route { allow_encoded_slashes: true, ..route("files", &["/files/{name}", "/p/{id}/*"], Some("a")) };
    let routes = [allowing, route("other", &["/other/*"], Some("b")), route("public", &["/www/{x}"], None)];
    assert_eq!(get(&routes, "/files/a%2fb"), "files");
    assert_eq!(get(&routes, "/p/group%2Fproject/issues"), "files");
    assert_eq!(get(&routes, "/files/..%2Fnowhere"), "ambiguous_path");
    assert_eq!(get(&routes, "/files/..%2Fother%2Fx"), "ambiguous_path");
    assert_eq!(get(&routes, "/www/a%2Fb"), "encoded_slash");
    let routes = [Route { allow_encoded_slashes: true, ..route("public", &["/www/{x}"], None) }];
    assert_eq!(get(&routes, "/www/a%2Fb"), "ambiguous_path");
}

#[test]
fn a_looser_limit_is_not_found_by_another_spelling() {
    let rate = crate::config::Rate { interval: Duration::from_secs(1), burst: 1 };
    let login = Route { rate_per_address: Some(rate), ..route("login", &["/login"], None) };
    let routes = [login, route("public", &["/*"], None)];
    assert_eq!(get(&routes, "/login"), "login");
    assert_eq!(get(&routes, "/Login"), "ambiguous_path");
    assert_eq!(get(&routes, "/login;x"), "ambiguous_path");
}

#[test]
fn a_protected_path_with_a_public_sibling_is_warned_of() {
    let routes = [route("public", &["/*"], None), route("admin", &["/admin/*", "/me", "/all", "/all/*"], Some("a"))];
    let gaps = Routes::build(&routes).unwrap().gaps(&routes);
    let paths: Vec<&str> = gaps.iter().map(|gap| gap.path.as_str()).collect();
    assert_eq!(paths, ["/admin", "/me/"]);
    assert!(gaps.iter().all(|gap| gap.protected == 1 && gap.public == 0));
}

#[test]
fn a_method_that_nobody_named_is_not_another_way_in() {
    let routes = [
        route("public", &["/*"], None),
        with(&[Method::GET, Method::POST], route("admin", &["/admin"], Some("a"))),
        with(&[Method::GET], route("report", &["/report"], Some("a"))),
        with(&[Method::HEAD], route("probe", &["/report"], None)),
    ];
    let post = Method::from_bytes(b"post").unwrap();
    assert_eq!(ask(&routes, post.clone(), "", "/admin"), "ambiguous_path");
    assert_eq!(ask(&routes, Method::HEAD, "", "/admin"), "ambiguous_path");
    assert_eq!(ask(&routes, Method::HEAD, "", "/report"), "probe");
    assert_eq!(ask(&routes, Method::DELETE, "", "/admin"), "public");
    assert_eq!(ask(&routes, post, "", "/x"), "public");
    assert_eq!(ask(&routes, Method::HEAD, "", "/x"), "public");
}
