//! The keys that sign our own tokens: they rotate, and nobody who holds a good token notices.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::Value;

use crate::{
    binary::Process,
    oauth::house::{SECRET, form, hash},
    support::{
        Sidegate, Upstream, get,
        issuer::scratch,
        keys::{part, verifies},
        look::assert_invalid_token,
        send,
    },
};

const JWKS: &str = "/.well-known/jwks.json";

fn yaml(upstream: &Upstream, signing: &str) -> String {
    format!(
        "authority:\n  issuer: http://127.0.0.1:8080\n  audiences: [orders-api]\n  signing: {{ {signing} }}\n  clients:\n    \
         - {{ id: app, secret_hashes: [\"{}\"], grants: [client_credentials], scopes: [orders], access_token: {{ format: jwt }} }}\n\
         store: {{ memory: {{}} }}\n\
         upstreams: [{{ name: app, url: \"http://{}\", credential: {{ none: {{}} }} }}]\n\
         routes: [{{ name: all, paths: [/, \"/*\"], upstream: app, policy: {{ audiences: [orders-api] }} }}]\n",
        hash(SECRET),
        upstream.address
    )
}

async fn mint(sidegate: &Sidegate) -> String {
    mint_at(sidegate.public).await
}

async fn mint_at(public: SocketAddr) -> String {
    let body = format!("grant_type=client_credentials&client_id=app&client_secret={SECRET}");
    let reply = send(public, form("/oauth20/token", &body, &[])).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["access_token"].as_str().unwrap().to_owned()
}

async fn jwks(sidegate: &Sidegate) -> Value {
    get(sidegate.public, JWKS, "").await.json()
}

fn kids(jwks: &Value) -> Vec<String> {
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn kid(token: &str) -> String {
    part(token, 0)["kid"].as_str().unwrap().to_owned()
}

/// S30.
#[tokio::test]
async fn a_new_key_is_published_before_it_signs_and_the_old_one_goes_on_being_believed() {
    let upstream = Upstream::start().await;
    let sidegate = Sidegate::start(&yaml(&upstream, "publish_ahead: 10m")).await;
    let before = mint(&sidegate).await;
    assert_eq!(kids(&jwks(&sidegate).await), [kid(&before)]);
    sidegate.app.gate().endpoints().unwrap().grants.keys.rotate_now(false).await.unwrap();
    let published = jwks(&sidegate).await;
    assert_eq!(kids(&published).len(), 2);
    assert_eq!(kid(&mint(&sidegate).await), kid(&before));
    sidegate.time.advance(601);
    let mut after = mint(&sidegate).await;
    for _ in 0..2000 {
        if kid(&after) != kid(&before) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        after = mint(&sidegate).await;
    }
    // Whoever has only the set from before its first use can verify it.
    assert!(kid(&after) != kid(&before) && verifies(&published, &after) && verifies(&published, &before));
    for token in [&before, &after] {
        assert_eq!(get(sidegate.public, "/", token).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_good_token_is_refused_while_keys_rotate_under_load() {
    let upstream = Upstream::start().await;
    let sidegate = Arc::new(Sidegate::start(&yaml(&upstream, "publish_ahead: 10s")).await);
    let (stop, used) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (sidegate, stop, used, seen) = (sidegate.clone(), stop.clone(), used.clone(), seen.clone());
        clients.spawn(async move {
            let mut tokens: Vec<String> = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                tokens.push(mint(&sidegate).await);
                // The newest, the oldest and one between.
                for index in [tokens.len() - 1, 0, tokens.len() / 2] {
                    let reply = get(sidegate.public, "/", &tokens[index]).await;
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    used.fetch_add(1, Ordering::SeqCst);
                }
                let kid = kid(&tokens[tokens.len() - 1]);
                let mut seen = seen.lock().unwrap();
                if !seen.contains(&kid) {
                    seen.push(kid);
                }
            }
        });
    }
    let keys = sidegate.app.gate().endpoints().unwrap().grants.keys.clone();
    let settled = async |rotations: usize| {
        for _ in 0..10_000 {
            if seen.lock().unwrap().len() > rotations {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("the new key was never used");
    };
    for rotation in 0..6 {
        settled(rotation).await;
        let at_once = rotation % 2 == 1;
        keys.rotate_now(at_once).await.unwrap();
        sidegate.time.advance(11);
    }
    settled(6).await;
    stop.store(true, Ordering::SeqCst);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    assert_eq!(seen.lock().unwrap().len(), 7);
    assert!(used.load(Ordering::SeqCst) > 100);
    assert_eq!(sidegate.decisions("all", "key_unknown").await, 0);
}

fn command(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sidegate")).args(arguments).output().unwrap()
}

fn keys(arguments: &[&str], folder: &Path) -> (Option<i32>, String, String) {
    let folder = folder.to_str().unwrap();
    let output = command(&[&["keys"], arguments, &["--folder", folder]].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_folder_is_rotated_by_the_command_and_read_again_by_a_reload() {
    let (upstream, folder) = (Upstream::start().await, scratch("signing").join("keys"));
    let (code, made, _) = keys(&["new", "--algorithm", "eddsa"], &folder);
    assert_eq!(code, Some(0));
    let lines: Vec<Vec<&str>> = made.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines.len(), lines[0][0], lines[0][2], lines[1][0]), (2, "current", "EdDSA", "next"));
    let yaml = yaml(&upstream, &format!("folder: {}", folder.display()));
    let sidegate = Sidegate::start(&yaml).await;
    let first = mint(&sidegate).await;
    assert_eq!(kid(&first), lines[0][1]);
    assert_eq!(kids(&jwks(&sidegate).await), [lines[0][1], lines[1][1]]);

    let (code, _, told) = keys(&["rotate"], &folder);
    assert_eq!(code, Some(1));
    assert!(told.contains("--now"), "{told}");
    let (code, listed, _) = keys(&["rotate", "--now"], &folder);
    assert_eq!((code, listed.lines().count()), (Some(0), 3));
    sidegate.reload(&yaml).await;
    let second = mint(&sidegate).await;
    assert_eq!(kid(&second), lines[1][1]);
    for token in [&first, &second] {
        assert_eq!(get(sidegate.public, "/", token).await.status, 200);
    }

    // An operator drops a key that has leaked: what it signed is refused at once, cached or not.
    for entry in fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        if entry.file_name().to_str().unwrap().starts_with("previous-") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    sidegate.reload(&yaml).await;
    assert_invalid_token(&get(sidegate.public, "/", &first).await);
    assert_eq!(get(sidegate.public, "/", &second).await.status, 200);
}

#[tokio::test]
async fn a_reload_that_is_refused_leaves_the_signing_keys_as_they_were() {
    let (upstream, folder) = (Upstream::start().await, scratch("signing-refused").join("keys"));
    keys(&["new"], &folder);
    let yaml = yaml(&upstream, &format!("folder: {}", folder.display()));
    let sidegate = Sidegate::start(&yaml).await;
    let before = kids(&jwks(&sidegate).await);
    keys(&["rotate", "--now"], &folder);
    let wrong = yaml.replacen("authority:\n", "authority:\n  pages: { theme: /nowhere/at/all }\n", 1);
    let (app, wrong) = (sidegate.app.clone(), crate::support::sidegate::parse(&wrong));
    let refused = tokio::task::spawn_blocking(move || app.reload(wrong, crate::support::sidegate::signalled()))
        .await
        .unwrap()
        .unwrap_err()
        .to_string();
    assert!(refused.contains("pages.theme"), "{refused}");
    assert_eq!(kids(&jwks(&sidegate).await), before);
    sidegate.reload(&yaml).await;
    assert_ne!(kids(&jwks(&sidegate).await), before);
}

/// The store is a file, and so is the ring; both are made at the first start.
fn on_disk(upstream: &Upstream, folder: &Path) -> String {
    let (store, ring) = (folder.join("sessions.redb"), folder.join("master.keys"));
    let store = format!(
        "store: {{ redb: {{ path: {} }} }}\nkeys: {{ master_file: {}, generate: true }}\n",
        store.display(),
        ring.display()
    );
    yaml(upstream, "").replace("store: { memory: {} }\n", &store)
}

#[tokio::test]
async fn a_jwt_is_as_good_after_a_restart_as_before() {
    let (upstream, folder) = (Upstream::start().await, scratch("restart"));
    let yaml = on_disk(&upstream, &folder)
        + "listeners: [{ name: main, address: \"127.0.0.1:0\" }]\nadmin: { address: \"127.0.0.1:0\" }\n";
    let mut process = Process::start(&yaml);
    let public = process.address("main").await;
    let (token, before) = (mint_at(public).await, get(public, JWKS, "").await.json());
    assert_eq!(get(public, "/", &token).await.status, 200);
    process.signal("KILL");
    process.ended().await;

    let process = Process::start(&yaml);
    let public = process.address("main").await;
    assert_eq!(get(public, JWKS, "").await.json(), before);
    assert_eq!(get(public, "/", &token).await.status, 200);
    let key = process.status().await["authority"]["signing_keys"][0].clone();
    assert_eq!((key["stage"].as_str(), key["kid"].as_str()), (Some("current"), Some(&*kid(&token))));

    // Who only looks opens nothing and makes nothing, and disturbs nobody.
    let (config, file) = (folder.join("sidegate.yaml"), folder.join("token"));
    fs::write(&config, &yaml).unwrap();
    fs::write(&file, &token).unwrap();
    let (config, file) = (config.to_str().unwrap(), file.to_str().unwrap());
    let told = command(&["explain", "-c", config, "--token-file", file, "/"]);
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(text.contains("a JWT of the local authority") && text.contains("`sidegate sessions` asks"), "{text}");
    assert!(text.contains("may say otherwise") && !text.contains(&token), "{text}");
    assert_eq!(get(public, "/", &token).await.status, 200);
}

#[test]
fn master_keys_are_made_and_added_to_in_place() {
    let printed = command(&["keys", "master"]);
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(text.starts_with("1:") && text.lines().count() == 1 && text.len() == 46, "{}", text.len());
    let file = scratch("master").join("master.keys");
    for count in 1..=3 {
        let added = command(&["keys", "master", "--add", file.to_str().unwrap()]);
        let told = String::from_utf8(added.stdout).unwrap();
        assert!(told.contains(&format!("key {count} is current, of {count}")), "{told}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let ring = fs::read_to_string(&file).unwrap();
        assert!(ring.starts_with(&format!("{count}:")) && ring.lines().count() == count);
        assert!(!told.contains(ring.lines().next().unwrap().split_once(':').unwrap().1));
    }
    fs::write(&file, "not a ring").unwrap();
    let refused = command(&["keys", "master", "--add", file.to_str().unwrap()]);
    assert_eq!((refused.status.code(), fs::read_to_string(&file).unwrap().as_str()), (Some(1), "not a ring"));
}
