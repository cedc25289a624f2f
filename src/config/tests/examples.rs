//! The files in `config/`: they load, and the reference is complete.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::super::{
    Environment, Inquiry, KeyPath, KeySource, Store, Way,
    decode::{RENAMED, decode},
    load, schema,
    settings::Settings,
    tree::{self, Content, Node},
};
use super::files::Folder;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn reference() -> String {
    fs::read_to_string(folder().join("reference.yaml")).unwrap()
}

#[test]
fn every_file_in_the_folder_is_a_configuration_and_warns_only_of_passwords() {
    let made = Folder::new();
    made.certificate("server");
    made.certificate("client");
    for authority in ["clients-ca", "upstream-ca"] {
        made.certificate(authority);
    }
    made.write("introspection", "0123456789abcdef\n");
    made.write("remote", "0123456789abcdef\n");
    made.write("vendor", "0123456789abcdef\n");
    made.write("admin", "0123456789abcdef0123456789abcdef\n");
    made.write("master", "1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n");
    let here = made.path().to_str().unwrap();
    let folders = ["SIDEGATE_TLS_DIR", "SIDEGATE_SECRETS_DIR", "SIDEGATE_DATA_DIR"];
    let environment: Environment = folders.map(|name| (name, here)).into_iter().collect();
    let mut names = BTreeSet::new();
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    // Folders hold what a configuration names.
    for file in files.filter(|file| file.is_file()) {
        let loaded = load(&file, &environment).unwrap_or_else(|problems| panic!("{problems}"));
        let warned: Vec<String> = loaded.warnings.iter().map(|warning| warning.path.to_string()).collect();
        // The quickstart does for show what nobody should do for good.
        let shown: &[&str] = match file.file_name().unwrap().to_str().unwrap() {
            "quickstart.yaml" => &["authority.clients[0].grants[1]", "keys.generate"],
            // The login of `consinco` is a password, as it was published.
            "reference.yaml" => &["authority.clients[1].grants[0]"],
            "consinco.yaml" | "replicas.yaml" => &["authority.clients[0].grants[0]"],
            "old-server.yaml" => &["authority.clients[0].grants[0]", "authority.clients[1].grants[0]"],
            _ => &[],
        };
        assert_eq!(warned, shown, "{}: {:?}", file.display(), loaded.warnings);
        names.insert(file.file_name().unwrap().to_str().unwrap().to_owned());
    }
    for name in [
        "authority",
        "broker",
        "consinco",
        "decision",
        "declared-dialect",
        "legacy-basic",
        "gateway",
        "internal-jwt",
        "introspection",
        "observe",
        "old-server",
        "probe",
        "redex",
        "reference",
        "renewal",
        "replicas",
        "service",
        "sidecar",
        "tls",
    ] {
        assert!(names.contains(&format!("{name}.yaml")), "{name}");
    }
}

#[test]
fn an_issuer_of_opaque_tokens_has_no_keys() {
    let made = Folder::new();
    made.write("introspection", "0123456789abcdef\n");
    let here = made.path().to_str().unwrap();
    let environment: Environment = [("SIDEGATE_SECRETS_DIR", here)].into_iter().collect();
    let config = load(&folder().join("introspection.yaml"), &environment).unwrap().config;
    assert_eq!(config.issuers[0].keys, KeySource::None);
    let Some(Inquiry { way: Way::Introspection(introspection), .. }) = &config.issuers[0].inquiry else { panic!() };
    assert_eq!(introspection.client_secret.expose(), "0123456789abcdef");
}

/// What the reference gives as a default is the default: the same file without it means the same.
#[test]
fn the_reference_states_the_defaults() {
    let whole = load(&folder().join("reference.yaml"), &Environment::default()).unwrap().config;
    let short = "
issuers: [{name: corp, issuer: 'https://idp.example.com'}]
internal_jwt: {}
upstreams: [{name: orders, url: 'http://127.0.0.1:3000', credential: {internal_jwt: {audience: orders}}}]
routes: [{name: orders, paths: [/orders, '/orders/*'], upstream: orders, policy: {audiences: [orders-api]}, cors: {origins: ['https://app.example.com']}}]
authority:
  issuer: https://auth.example.com
  audiences: [orders-api]
  clients:
  - id: shop
    name: The shop
    secret_hashes: ['sha256:10bce5d74dfed2e3bb30541ef77e1e47a7a36b5959e9913762dddb208780fd48']
    grants: [authorization_code, refresh_token]
    redirect_uris: ['https://shop.example.com/callback']
    scopes: [orders, profile]
    default_scopes: [orders]
  - {id: pos, public: true, grants: [password, refresh_token], scopes: [orders]}
  users:
  - username: ana
    subject: u-1001
    password_hash: $argon2id$v=19$m=19456,t=2,p=1$Qgbw/dPpvyY0Ocpbh1jzog$/uIgllbxaDmFH+9u0Xf1ZqjLWVrNneymPRVtiiCS4qQ
    claims: {email: ana@example.com, user_id: 6, user_sequence: 8, external: false, company: '12'}
  endpoints:
    redex: {}
    consinco:
      client: pos
      zone: America/Sao_Paulo
      claims: {id: user_id, userSequence: user_sequence, isExt: external, username: email, company: company}
  scopes: {orders: See and place orders, profile: See your name}
store: {memory: {}}
";
    let short = super::load_with(short, &[]).unwrap().config;
    assert_eq!(short.listeners[0].address, whole.listeners[0].address);
    assert_eq!(short.listeners[0].protocols, whole.listeners[0].protocols);
    assert_eq!(short.listeners[0].limits, whole.listeners[0].limits);
    assert_eq!(short.issuers, whole.issuers);
    assert_eq!(short.authority, whole.authority);
    assert_eq!((&short.store, &short.keys), (&whole.store, &whole.keys));
    assert_eq!(short.internal_jwt, whole.internal_jwt);
    assert_eq!(short.upstreams[0].timeouts, whole.upstreams[0].timeouts);
    assert_eq!(short.upstreams[0].connections, whole.upstreams[0].connections);
    assert_eq!(short.routes[0].cors, whole.routes[1].cors);
    assert_eq!(short.routes[0].token, whole.routes[1].token);
    assert_eq!(short.routes[0].max_body_bytes, whole.routes[1].max_body_bytes);
    assert_eq!(short.routes[0].timeouts, whole.routes[1].timeouts);
    assert_eq!(short.cache, whole.cache);
    assert_eq!(short.log, whole.log);
    assert_eq!(short.resource, whole.resource);
    assert_eq!(short.drain, whole.drain);
    assert_eq!(short.workers, whole.workers);
}

#[test]
fn the_hash_of_the_reference_is_of_the_password_that_stands_beside_it() {
    use argon2::{Argon2, PasswordVerifier};
    let text = reference();
    let (_, after) = text.split_once("password_hash: \"").unwrap();
    let hash = after.split('"').next().unwrap();
    assert!(text.contains("# From `sidegate hash`; this one is of \"correct horse battery staple\"."));
    let verified = <Argon2<'_> as PasswordVerifier<str>>::verify_password(
        &Argon2::default(),
        b"correct horse battery staple",
        hash,
    );
    assert_eq!(verified, Ok(()));
}

#[test]
fn what_the_reference_says_of_redis_is_the_default() {
    let text = reference();
    for (key, value) in [("database", "0"), ("prefix", "sidegate"), ("connections", "4"), ("timeout", "1s")] {
        assert!(text.contains(&format!("  #   {key}: {value} ")), "{key}");
    }
    let made = Folder::new();
    made.write("master", "1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n");
    let environment: Environment = [("SIDEGATE_SECRETS_DIR", made.path().to_str().unwrap())].into_iter().collect();
    let Store::Redis(store) = load(&folder().join("replicas.yaml"), &environment).unwrap().config.store else {
        panic!()
    };
    let said = (store.database, store.prefix.as_str(), store.connections, store.timeout);
    assert_eq!(said, (0, "sidegate", 4, Duration::from_secs(1)));
}

/// The reference with everything that stands in it as a comment.
fn uncommented() -> Node {
    let is_setting = |text: &str| {
        let text = text.trim_start().strip_prefix("- ").unwrap_or(text.trim_start());
        text.split_once(':').is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let text = reference();
    let lines = text.lines().map(|line| match line.split_once("# ") {
        Some((before, after)) if before.trim().is_empty() && is_setting(after) => format!("{before}{after}"),
        _ => line.to_owned(),
    });
    let source = lines.collect::<Vec<_>>().join("\n");
    tree::parse(&source, &Arc::from("reference.yaml")).unwrap_or_else(|problem| panic!("{problem}"))
}

#[test]
fn what_stands_in_comments_of_the_reference_is_valid_too() {
    let mut problems = Vec::new();
    assert!(decode::<Settings>(&mut uncommented(), RENAMED, &mut problems).is_some());
    assert_eq!(problems, []);
}

#[test]
fn every_key_of_the_schema_stands_in_the_reference() {
    let schema = schema();
    let mut known = BTreeSet::new();
    collect_keys(&uncommented(), &KeyPath::default(), &mut known);
    let mut missing = Vec::new();
    compare(&schema, &schema, "", &known, &mut missing);
    // The forms of a credential exclude each other; the comment beside it has them all.
    let text = reference();
    missing.retain(|path: &String| {
        let form = path.strip_prefix("upstreams.credential.").map(|rest| rest.rsplit('.').next().unwrap());
        form.is_none_or(|name| !text.contains(&format!("{name}:")))
    });
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_schema_has_a_title_and_a_description_for_every_key() {
    let schema = schema();
    assert_eq!(schema["title"], "sidegate configuration");
    assert_eq!(schema.get("$id"), None);
    let mut bare = Vec::new();
    describe(&schema, "", &mut bare);
    assert_eq!(bare, Vec::<String>::new());
}

fn collect_keys(node: &Node, path: &KeyPath, keys: &mut BTreeSet<String>) {
    match &node.content {
        Content::Sequence(items) => items.iter().for_each(|item| collect_keys(item, path, keys)),
        Content::Mapping(entries) => {
            for (key, below) in entries {
                let path = path.at(&*key.text);
                keys.insert(path.to_string());
                collect_keys(below, &path, keys);
            }
        }
        _ => {}
    }
}

/// Walks the schema as the file would be walked.
fn compare(
    all: &serde_json::Value,
    schema: &serde_json::Value,
    path: &str,
    known: &BTreeSet<String>,
    missing: &mut Vec<String>,
) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = all.pointer(name.trim_start_matches('#')).unwrap();
        return compare(all, target, path, known, missing);
    }
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if !known.contains(&path) {
            missing.push(path.clone());
        }
        compare(all, below, &path, known, missing);
    }
    for list in ["anyOf", "oneOf", "allOf"] {
        for below in schema[list].as_array().into_iter().flatten() {
            compare(all, below, path, known, missing);
        }
    }
    if schema["items"].is_object() {
        compare(all, &schema["items"], path, known, missing);
    }
}

fn describe(value: &serde_json::Value, path: &str, bare: &mut Vec<String>) {
    // The one key of a variant is described together with the variant.
    let described = value.get("description").is_some() && value["properties"].as_object().is_some_and(|p| p.len() == 1);
    for (name, below) in value["properties"].as_object().into_iter().flatten() {
        if below.get("description").is_none() && !described {
            bare.push(format!("{path}/{name}"));
        }
    }
    match value {
        serde_json::Value::Object(members) => {
            members.iter().for_each(|(name, below)| describe(below, &format!("{path}/{name}"), bare));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|below| describe(below, path, bare)),
        _ => {}
    }
}
