//! The file, the environment, and what does not fit.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::{
    decode::{Renamed, decode},
    settings::Settings,
    tree,
};
use super::*;

#[test]
fn the_shortest_configuration_loads() {
    assert_eq!(problems(&config("")), Vec::<String>::new());
}

#[test]
fn an_empty_file_says_what_it_needs() {
    assert_eq!(
        problems(""),
        ["1:1: routes: there is no route, so every request would be refused; add for example routes: \
          [{name: all, paths: [\"/*\"], upstream: app, policy: {audiences: [my-api]}}]"]
    );
}

#[test]
fn every_problem_is_reported_at_once_in_the_order_of_the_file() {
    let source = config("log: {levle: loud, format: jsn}\nworkers: many\ndrain: {delay: 5}\ncache: [1]\nlogs: {}\n");
    assert_eq!(
        problems(&source),
        [
            "1:7: log.levle: unknown key \"levle\"; did you mean \"level\"?",
            "1:14: log.level: \"loud\" is not known here; known here: error, warn, info, debug",
            "1:28: log.format: \"jsn\" is not known here; did you mean \"json\"?",
            "2:10: workers: a whole number belongs here, not text",
            "3:16: drain.delay: 5 is not a duration with its unit, such as 250ms, 5s, 10m, 1h or 30d",
            "4:8: cache: a mapping belongs here, not a list",
            "5:1: logs: unknown key \"logs\"; did you mean \"log\"?",
        ]
    );
}

#[test]
fn a_section_without_a_value_is_an_empty_one() {
    assert_eq!(problems(&config("log:\nlisteners:\nhealth:\ncache: ~\ntrusted_proxies:\n")), Vec::<String>::new());
}

#[test]
fn a_number_where_text_belongs_must_be_quoted() {
    let source = config("listeners:\n- name: 12\n  tls: {certificate_file: a, key_file: true, min_version: 1.2}\n");
    assert_eq!(
        problems(&source)[..3],
        [
            "2:9: listeners[0].name: text belongs here, not a number; put it in quotes",
            "3:40: listeners[0].tls.key_file: text belongs here, not a boolean; put it in quotes",
            "3:59: listeners[0].tls.min_version: text belongs here, not a number; put it in quotes",
        ]
    );
}

#[test]
fn off_and_no_are_words() {
    let loaded = load_with(&config("listeners: [{proxy_protocol: off, name: no}]"), &[]).unwrap();
    assert_eq!(&*loaded.config.listeners[0].name, "no");
}

#[test]
fn units_are_read_and_explained() {
    let loaded = load_with(&config("cache: {max_bytes: 2MiB, negative_ttl: 1m}\ndrain: {timeout: 1h}"), &[]).unwrap();
    assert_eq!(loaded.config.cache.max_bytes, 2 * 1024 * 1024);
    assert_eq!(loaded.config.cache.negative_ttl.as_secs(), 60);
    assert_eq!(
        problems(&config("cache: {max_bytes: lots, negative_ttl: 1M}\ndrain: {timeout: 10}")),
        [
            "1:20: cache.max_bytes: \"lots\" is not a size with its unit, such as 512B, 64KiB or 10MiB",
            "1:40: cache.negative_ttl: \"1M\" is not a duration with its unit, such as 250ms, 5s, 10m, 1h or 30d",
            "2:18: drain.timeout: 10 is not a duration with its unit, such as 250ms, 5s, 10m, 1h or 30d",
        ]
    );
}

#[test]
fn numbers_have_a_range() {
    let source = config(
        "cache: {max_bytes: 1KiB}\ndrain: {timeout: 2h}\nworkers: 5000\nlisteners: [{limits: {http2_streams: 0, \
         header_count: -1, http2_pending_resets: 1.5, header_bytes: 2MiB}}]",
    );
    assert_eq!(
        problems(&source),
        [
            "1:20: cache.max_bytes: 1.0KiB is not between 1.0MiB and 64.0GiB",
            "2:18: drain.timeout: 2h is not between 0s and 1h",
            "3:10: workers: 5000 is more than 1024",
            "4:38: listeners[0].limits.http2_streams: 0 is not between 1 and 10000",
            "4:55: listeners[0].limits.header_count: -1 is not a whole number from 0",
            "4:81: listeners[0].limits.http2_pending_resets: a whole number belongs here, not a number",
            "4:100: listeners[0].limits.header_bytes: 2.0MiB is not between 8.0KiB and 1.0MiB",
        ]
    );
}

#[test]
fn a_key_that_is_given_twice_is_refused() {
    assert_eq!(problems("log: {}\nlog: {}\n"), ["2:1: duplicate mapping key `log` is not allowed here"]);
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut source = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        source.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    assert_eq!(problems(&source).len(), 1);
}

#[test]
fn deep_nesting_and_long_files_are_refused() {
    assert_eq!(problems(&"[".repeat(100_000)).len(), 1);
    assert_eq!(problems(&" ".repeat(1024 * 1024 + 1)), [" longer than 1048576 bytes"]);
}

#[test]
fn variables_are_put_into_values_and_read_as_what_belongs_there() {
    let source = config("workers: ${N}\nlisteners: [{address: '127.0.0.1:${PORT:-8443}', name: '$${x}'}]".trim());
    let source = source.replace("'$${x}'", "'${NAME}'");
    let loaded = load_with(&source, &[("N", "3"), ("NAME", "12")]).unwrap();
    assert_eq!(loaded.config.workers, 3);
    assert_eq!(loaded.config.listeners[0].address, Address::Tcp("127.0.0.1:8443".parse().unwrap()));
    assert_eq!(&*loaded.config.listeners[0].name, "12");
}

#[test]
fn a_variable_that_is_not_set_is_a_problem_with_its_place() {
    assert_eq!(
        problems(&config("log:\n  level: ${LEVEL}\n  format: x${OPEN\n")),
        [
            "2:10: log.level: the environment has no variable LEVEL",
            "3:11: log.format: a ${ without its }; write $${ for a literal ${",
        ]
    );
}

#[test]
fn a_variable_with_a_path_overrides_the_file() {
    let source = config("log: {level: info}\nlisteners: [{name: a, address: '127.0.0.1:1'}]");
    let variables = [
        ("SIDEGATE__LOG__LEVEL", "debug"),
        ("SIDEGATE__LISTENERS__0__ADDRESS", "127.0.0.1:2"),
        ("SIDEGATE__LISTENERS__1__ADDRESS", "127.0.0.1:3"),
        ("SIDEGATE__LISTENERS__1__NAME", "b"),
        ("SIDEGATE__WORKERS", "2"),
        ("SIDEGATE__ISSUERS__0__REQUIRED", "true"),
        ("SIDEGATE_TLS_DIR", "is no override"),
    ];
    let config = load_with(&source, &variables).unwrap().config;
    assert_eq!(config.log.level, tracing::Level::DEBUG);
    assert_eq!(config.listeners[0].address, Address::Tcp("127.0.0.1:2".parse().unwrap()));
    assert_eq!(&*config.listeners[1].name, "b");
    assert_eq!(config.workers, 2);
    assert!(config.issuers[0].required);
}

#[test]
fn a_variable_that_fits_no_key_is_a_problem() {
    let variables = [
        ("SIDEGATE__LOG__LEVLE", "canary"),
        ("SIDEGATE__LOG", "canary"),
        ("SIDEGATE__ROUTES__7__NAME", "canary"),
        ("SIDEGATE__ROUTES__FIRST__NAME", "canary"),
        ("SIDEGATE__WORKERS__X", "canary"),
        ("SIDEGATE____", "canary"),
        ("SIDEGATE__DRAIN__DELAY", "canary"),
    ];
    assert_eq!(
        problems_with(&config("log: {}\nworkers: 1"), &variables),
        [
            "$SIDEGATE____: the name of this variable is no path; an example: SIDEGATE__LOG__FORMAT",
            "$SIDEGATE__LOG: log: a variable sets one value, and this is a whole section; name what is below it: \
             SIDEGATE__LOG__…",
            "$SIDEGATE__ROUTES__FIRST__NAME: routes: this is a list; \"FIRST\" is not the number of an item",
            "$SIDEGATE__ROUTES__7__NAME: routes: number 7 would leave a gap; the next item of this list is number 1",
            "$SIDEGATE__WORKERS__X: workers: there is nothing below this value, so \"X\" cannot be set",
            "$SIDEGATE__LOG__LEVLE: log.levle: unknown key \"levle\"; did you mean \"level\"?",
            "$SIDEGATE__LOG__LEVLE: log.level: the value is not known here; known here: error, warn, info, debug",
            "$SIDEGATE__DRAIN__DELAY: drain.delay: the value is not a duration with its unit, such as 250ms, 5s, 10m, \
             1h or 30d",
        ]
    );
}

#[test]
fn a_renamed_key_answers_with_its_new_name() {
    let name = Arc::from("c.yaml");
    let mut root = tree::parse("routes:\n- {target: app, upstream_name: x}\n", &name).unwrap();
    let renamed = [Renamed { section: "routes", old: "target", new: "upstream" }];
    let mut problems = Vec::new();
    let decoded = decode::<Settings>(&mut root, &renamed, &mut problems).unwrap();
    assert_eq!(problems[0].to_string(), "c.yaml:2:4: routes[0].target: \"target\" has a new name; write \"upstream\"");
    assert_eq!(decoded.value.routes[0].upstream.as_deref(), Some("app"));
}

#[test]
fn a_report_shows_the_line_and_the_place() {
    let problems = load_with(&config("routes:\n- {name: all, paths: ['/*'], upstream: ap}"), &[]).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "c.yaml:2:3: routes[0]: neither policy nor public; write policy: {audiences: [my-api]}, or public: true for a \
         route that needs no token\n  2 | - {name: all, paths: ['/*'], upstream: ap}\n    |   ^\n\
         c.yaml:2:40: routes[0].upstream: no upstream is called \"ap\"; did you mean \"app\"?\n  \
         2 | - {name: all, paths: ['/*'], upstream: ap}\n    |                                        ^"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_one_problem() {
    let problems = load(Path::new("/nowhere/c.yaml"), &Environment::default()).unwrap_err();
    assert_eq!(problems.to_string(), "/nowhere/c.yaml: cannot be read: No such file or directory (os error 2)");
}

/// Text that is more like a configuration than chance would make it.
fn yamlish() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("routes".to_owned()),
        Just("listeners".to_owned()),
        Just("credential".to_owned()),
        Just("- ".to_owned()),
        Just(": ".to_owned()),
        Just("\n".to_owned()),
        Just("\n  ".to_owned()),
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just("&a ".to_owned()),
        Just("*a".to_owned()),
        Just("<<".to_owned()),
        Just("${X:-".to_owned()),
        Just("|\n ".to_owned()),
        Just("\"".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        "\\PC{0,4}",
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(source in prop_oneof![yamlish(), any::<String>()], value in any::<String>()) {
        let variables = [("SIDEGATE__ROUTES__0__HOSTS__0", value.as_str()), ("X", &value)];
        let text = load_with(&source, &variables).map_or_else(|problems| problems.to_string(), |_| String::new());
        prop_assert!(text.len() < 1_000_000);
    }

    #[test]
    fn no_value_in_a_valid_file_makes_it_panic(value in any::<String>()) {
        for key in ["hosts: [V]", "paths: [V]", "host: V", "strip_prefix: V", "methods: [V]", "cors: {origins: [V]}",
            "token: {header: V, query_parameter: V}", "policy: {claims: {a: [V]}, audiences: [V]}"] {
            let source = route(&key.replace('V', "'${X}'"));
            let _ = load_with(&source, &[("X", &value)]);
        }
        for key in ["url", "name", "protocol"] {
            let source = config(&format!("upstreams: [{{{key}: '${{X}}'}}]"));
            let _ = load_with(&source, &[("X", &value)]);
        }
    }
}
