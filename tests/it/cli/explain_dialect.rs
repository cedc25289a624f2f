//! `sidegate explain --dialect`: how the body of a token request is read, and what would be said of it.

use std::{
    fs,
    io::Write,
    process::{Output, Stdio},
};

use serde_json::Value;

use super::{Setup, binary, details, step};

const SECRET: &str = "kept-secret-of-erp-Zx81Qw";
const TOKEN: &str = "9b2c7a31-6f0e-4b52-8d7e-0c1f5a9e2d44";
/// Nothing that may ever be printed.
const HIDDEN: [&str; 5] = [SECRET, TOKEN, "hunter2hunter2", "kept-secret-there", "c2VjcmV0"];

const AUTHORITY: &str = r#"
listeners: [{ name: main, address: "127.0.0.1:0" }]
store: { memory: {} }
authority:
  issuer: http://127.0.0.1:8080
  audiences: [api]
  clients:
    - { id: pos, public: true, grants: [password, refresh_token], scopes: [orders] }
    - id: erp
      secret_hashes: ["sha256:c8105ee97fd54b86fce66df7506621e594a7f3797f5ff603522355a99f86fb94"]
      grants: [api_key, refresh_token]
      scopes: [orders, stock]
  endpoints:
    redex: {}
    consinco: { client: pos, zone: America/Sao_Paulo, claims: { id: number, userSequence: sequence, isExt: external } }
upstreams: [{ name: app, url: "http://127.0.0.1:1", credential: { none: {} } }]
routes: [{ name: all, paths: ["/*"], upstream: app, policy: { audiences: [api], issuers: [local] } }]
"#;
const USERS: &str = r#"  users:
    - username: ana
      password_hash: "sha256:c8105ee97fd54b86fce66df7506621e594a7f3797f5ff603522355a99f86fb94"
"#;

fn served() -> Setup {
    let setup = Setup::new();
    setup.write(&AUTHORITY.replace("  endpoints:\n", &format!("{USERS}  endpoints:\n")));
    setup
}

/// The same before an authority outside.
fn in_front_of(remote: &str, pos: &str) -> Setup {
    let setup = Setup::new();
    let file = setup.folder.join("there");
    fs::write(&file, "kept-secret-there").unwrap();
    // Grants that the authority has no words for are a problem of the configuration.
    let authority =
        AUTHORITY.replace("[password, refresh_token]", pos).replace("[api_key, refresh_token]", "[refresh_token]");
    setup.write(&authority.replace("  endpoints:\n", &format!("  remote: {remote}\n  endpoints:\n")));
    setup
}

fn run(setup: &Setup, body: &str, arguments: &[&str]) -> Output {
    let mut command = binary();
    command.arg("explain").arg("-c").arg(setup.config()).args(arguments).args(["--body", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may have refused its arguments by now.
    let _ = child.stdin.take().unwrap().write_all(body.as_bytes());
    let output = child.wait_with_output().unwrap();
    for stream in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(stream);
        for hidden in HIDDEN {
            assert!(!text.contains(hidden), "{hidden} shows: {text}");
        }
    }
    output
}

fn asked(setup: &Setup, body: &str, arguments: &[&str]) -> (i32, Value) {
    let output = run(setup, body, &[arguments, &["--json"]].concat());
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"));
    (output.status.code().unwrap(), report)
}

fn redex(body: &str) -> (i32, Value) {
    asked(&served(), body, &["--dialect", "redex", "--endpoint", "refresh"])
}

fn answer(report: &Value) -> (u64, Value) {
    let body = report["answer"]["body"].as_str().unwrap();
    (report["answer"]["status"].as_u64().unwrap(), serde_json::from_str(body).unwrap())
}

#[test]
fn a_body_is_shown_member_by_member_and_no_secret_of_it() {
    let body = format!(
        r#"{{"RefreshToken":"{TOKEN}","GrantType":"refresh_token","ClientId":"erp","ClientSecret":"{SECRET}","More":{{"n":1}}}}"#
    );
    let (code, report) = redex(&body);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["request"]["path"], "/public/v2/connect/token/refresh");
    let members = details(step(&report, "members"));
    assert!(members.contains("`RefreshToken`: a text of 36 characters"), "{members}");
    assert!(members.contains("`ClientSecret`: a text of 25 characters"), "{members}");
    assert!(members.contains("`More.n`: a number"), "{members}");
    assert_eq!(step(&report, "grant")["says"], "refresh_token");
    assert!(details(step(&report, "grant")).contains("refresh token: \"…\" (36 characters)"));
    assert_eq!(step(&report, "client")["says"], "`erp`");
    let (status, answer) = answer(&report);
    assert_eq!((status, &answer["Data"]["AccessToken"]), (200, &"…".into()));
    assert_eq!(answer["Data"]["ExpiresIn"], "3600");
}

#[test]
fn a_refusal_is_shown_as_the_client_would_see_it() {
    let (code, report) = redex(r#"{"RefreshToken":7,"GrantType":"refresh_token","ClientId":"erp"}"#);
    assert_eq!((code, &report["verdict"]["code"]), (2, &"invalid_request".into()));
    let faults = details(step(&report, "read"));
    assert_eq!(faults, "`RefreshToken`: it is not a text\n`ClientSecret`: it is missing");
    let (status, answer) = answer(&report);
    assert_eq!((status, &answer["StatusCode"]), (400, &400.into()));
    assert_eq!(answer["Errors"][1]["Key"], "ClientSecret");

    let wrong =
        format!(r#"{{"RefreshToken":"{TOKEN}","GrantType":"api_key","ClientId":"erp","ClientSecret":"{SECRET}"}}"#);
    let (code, report) = redex(&wrong);
    assert_eq!((code, &report["verdict"]["code"]), (2, &"unsupported_grant_type".into()));
    assert_eq!(report["answer"]["status"], 401);
}

#[test]
fn what_the_configuration_says_of_the_client_is_told() {
    let of = |id: &str| {
        format!(
            r#"{{"RefreshToken":"{TOKEN}","GrantType":"refresh_token","ClientId":"{id}","ClientSecret":"{SECRET}"}}"#
        )
    };
    for (id, why) in [("nobody", "there is no such client"), ("pos", "it is a public client and has no secret")] {
        let (code, report) = redex(&of(id));
        assert_eq!((code, &report["verdict"]["code"]), (2, &"invalid_client".into()));
        assert_eq!(step(&report, "client")["says"], format!("`{id}`: {why}"));
        assert_eq!(answer(&report).1["Message"], "invalid_client");
    }
    let form = format!("grant_type=client_credentials&client_id=erp&client_secret={SECRET}&scope=orders");
    let (code, report) = asked(&served(), &form, &["--dialect", "oauth2"]);
    assert_eq!((code, &report["verdict"]["code"]), (2, &"unauthorized_client".into()));
    assert_eq!(step(&report, "client")["says"], "`erp`: `client_credentials` is not among its grants");
}

#[test]
fn xml_is_explained_and_answered_by_what_accept_says() {
    let body = "<ConsincoUserBindingModel xmlns='http://schemas.datacontract.org/2004/07/AuthenticationServer.Models'>\
        <Company>12</Company><Password>hunter2hunter2</Password><Username>ana</Username></ConsincoUserBindingModel>";
    let login = ["--dialect", "consinco", "--endpoint", "login"];
    let (code, report) = asked(&served(), body, &login);
    assert_eq!(code, 0, "{report:#}");
    assert!(details(step(&report, "members")).contains("`Password`: a text of 14 characters"));
    assert_eq!(details(step(&report, "grant")), "user: ana\npassword: \"…\" (14 characters)\ncompany: 12");
    assert!(report["answer"]["body"].as_str().unwrap().starts_with("<TokenResponse"), "{report:#}");
    let (_, report) = asked(&served(), body, &[&login[..], &["-H", "Accept: application/json"]].concat());
    assert_eq!(answer(&report).1["id"], 0);
    let (code, report) = asked(&served(), body, &[&login[..], &["-H", "Content-Type: text/plain"]].concat());
    assert_eq!((code, &report["answer"]["status"]), (2, &415.into()));
    let bomb = "<!DOCTYPE a [<!ENTITY b 'hunter2hunter2'>]><a>&b;</a>";
    let (code, report) = asked(&served(), bomb, &login);
    assert_eq!((code, &report["answer"]["status"]), (2, &400.into()));
}

#[test]
fn a_body_that_is_no_form_at_all_does_not_show_as_the_name_of_a_parameter() {
    let body = format!(r#"{{"RefreshToken":"{TOKEN}","ClientSecret":"{SECRET}"}}"#);
    let (code, report) = asked(&served(), &body, &["--dialect", "oauth2"]);
    assert_eq!(code, 2);
    assert_eq!(details(step(&report, "members")), "1 more, whose names are not shown");
    let long = "x".repeat(70_000);
    let (code, report) = asked(&served(), &long, &["--dialect", "oauth2"]);
    assert_eq!((code, &report["answer"]["status"]), (2, &413.into()));
}

#[test]
fn what_would_be_said_to_an_authority_outside_is_shown_with_placeholders() {
    let redex = "{dialect: redex, url: 'http://127.0.0.1:1', client: {id: side, secret_file: there}}";
    let consinco = "{dialect: consinco, url: 'http://127.0.0.1:1/api', format: xml, company: '12'}";
    let oauth2 = "{dialect: oauth2, url: 'http://127.0.0.1:1/token', client: {id: side, secret_file: there}}";
    let body = format!(
        r#"{{"RefreshToken":"{TOKEN}","GrantType":"refresh_token","ClientId":"erp","ClientSecret":"{SECRET}"}}"#
    );
    for (remote, url, said) in [
        (redex, "http://127.0.0.1:1/public/v2/connect/token/refresh", "\"RefreshToken\":\"…\""),
        (consinco, "http://127.0.0.1:1/api/", "<Refreshtoken>…</Refreshtoken>"),
        (oauth2, "http://127.0.0.1:1/token", "grant_type=refresh_token&refresh_token=…"),
    ] {
        let setup = in_front_of(remote, "[refresh_token]");
        let (code, report) = asked(&setup, &body, &["--dialect", "redex", "--endpoint", "refresh"]);
        assert_eq!(code, 0, "{report:#}");
        let request = &report["outside"]["request"];
        assert!(request["url"].as_str().unwrap().starts_with(url), "{report:#}");
        assert!(request["body"].as_str().unwrap().contains(said), "{report:#}");
    }
    let without_company = "{dialect: consinco, url: 'http://127.0.0.1:1/api'}";
    let setup = in_front_of(without_company, "[password, refresh_token]");
    let form = "grant_type=password&username=ana&password=hunter2hunter2&client_id=pos";
    let (_, report) = asked(&setup, form, &["--dialect", "oauth2"]);
    let says = report["outside"]["says"].as_str().unwrap();
    assert_eq!(
        says,
        "nothing, and it would be refused: the token API has no such request: a password without a company"
    );
}

/// What a declared dialect asks for may stand in a query, which is as secret as a body.
#[test]
fn a_declared_dialect_is_explained_by_the_grants_of_its_endpoints() {
    let setup = Setup::new();
    let acme = "
dialects:
  - name: acme
    endpoints:
      - grant: api_key
        path: /acme/token
        requests: [{ form: query, body: { key: \"{api_key}\", app: \"{client_id}\", password: \"{client_secret}\" } }]
    responses: [{ body: { token: \"{access_token}\" } }]
    errors: [{ body: { code: \"{code}\" } }]
";
    let declared = "  endpoints:\n    declared: [{ dialect: acme }]\n";
    setup.write(&format!("{acme}{}", AUTHORITY.replace("  endpoints:\n", &format!("{USERS}{declared}"))));
    let query = format!("key={TOKEN}&app=erp&password={SECRET}");
    let (code, report) = asked(&setup, &query, &["--dialect", "acme"]);
    assert_eq!((code, &report["request"]["method"]), (0, &"GET".into()), "{report:#}");
    assert_eq!(details(step(&report, "grant")), "API key: \"…\" (36 characters)");
    assert_eq!(answer(&report), (200, serde_json::json!({ "token": "…" })));
    assert_eq!(report["request"]["path"], "/acme/token");
}

#[test]
fn what_cannot_be_asked_is_said_with_what_could_be() {
    let setup = served();
    for (arguments, said) in [
        (&["--dialect", "rdx"][..], "there are `oauth2`, `redex`, `consinco`"),
        (&["--dialect", "redex"], "choose by --endpoint: `token`, `refresh`"),
        (&["--dialect", "redex", "--endpoint", "login"], "redex has no endpoint `login`; it has `token`, `refresh`"),
        (&["--dialect", "oauth2", "-H", "Authorization: Basic c2VjcmV0"], "client_secret into the body"),
        (&["--dialect", "oauth2", "-X", "GET"], "a token request of oauth2 is POST"),
        (&["--dialect", "oauth2", "/orders"], "cannot be used with"),
    ] {
        let output = run(&setup, "x", arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{text}");
        assert!(text.contains(said), "{text}");
    }
    let plain = Setup::new();
    let output = run(&plain, "x", &["--dialect", "oauth2"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("config/authority.yaml"), "{output:?}");
    setup.write(&AUTHORITY.replace("    redex: {}\n", ""));
    let output = run(&setup, "x", &["--dialect", "redex", "--endpoint", "refresh"]);
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("`authority.endpoints.redex` switches it on"),
        "{output:?}"
    );
}

#[test]
fn the_report_for_people_ends_with_the_answer() {
    let form = format!("grant_type=refresh_token&client_id=pos&refresh_token={TOKEN}");
    let output = run(&served(), &form, &["--dialect", "oauth2"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("POST /oauth20/token, which is `token` of oauth2\n"), "{text}");
    assert!(text.contains(" 5  grant       good     refresh_token\n"), "{text}");
    assert!(text.contains("{\"token_type\":\"bearer\",\"access_token\":\"…\",\"expires_in\":3600,"), "{text}");
    assert!(text.ends_with("Read: whether its secrets are right, only the running process knows.\n"), "{text}");
}
