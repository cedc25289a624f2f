//! Sessions that replicas share.

use std::{fs, time::Duration};

use super::{authority::told, files::Folder, *};

const RING: &str = "1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n";
const PASSWORD: &str = "c4n4ry-s3cr3t";

/// A folder with what the settings below name.
fn secrets() -> Folder {
    let folder = Folder::new();
    folder.write("ring", RING);
    folder.write("password", format!("{PASSWORD}\n"));
    folder
}

fn with_store(redis: &str) -> String {
    config(&format!("store: {{redis: {{{redis}}}}}\nkeys: {{master_file: ring}}\n"))
}

fn load_in(folder: &Folder, source: &str) -> Result<Loaded, Problems> {
    load_str(source, "c.yaml", folder.path(), &Environment::default())
}

fn store(redis: &str) -> RedisStore {
    match load_in(&secrets(), &with_store(redis)).unwrap_or_else(|problems| panic!("{problems}")).config.store {
        Store::Redis(store) => *store,
        other => panic!("{other:?}"),
    }
}

/// Problems, or else warnings, with line, path and remedy.
fn said(redis: &str) -> Vec<String> {
    let folder = secrets();
    let source = with_store(redis);
    let whole = match load_in(&folder, &source) {
        Ok(loaded) => loaded.warnings.iter().map(|warning| warning.to_string()).collect::<Vec<_>>(),
        Err(problems) => problems.list.iter().map(|problem| problem.to_string()).collect(),
    };
    whole.iter().map(|line| line.replace("c.yaml:", "").replace(folder.path().to_str().unwrap(), "HERE")).collect()
}

fn tcp(host: &str, port: u16) -> RedisAddress {
    RedisAddress::Tcp { host: host.to_owned(), port }
}

const NOTHING: [&str; 0] = [];

#[test]
fn one_server_has_the_defaults_of_the_reference() {
    let store = store("url: redis://127.0.0.1");
    assert_eq!(
        store,
        RedisStore {
            servers: RedisServers::One(tcp("127.0.0.1", 6379)),
            database: 0,
            username: None,
            password: None,
            tls: None,
            prefix: "sidegate".to_owned(),
            connections: 4,
            timeout: Duration::from_secs(1),
            journal: None,
        }
    );
}

#[test]
fn servers_are_named_by_address_by_name_and_by_socket() {
    for (url, address) in [
        ("redis://redis.svc.cluster.local:7000/", tcp("redis.svc.cluster.local", 7000)),
        ("'rediss://[2001:db8::1]'", tcp("2001:db8::1", 6379)),
        ("'redis://[::1]:7'", tcp("::1", 7)),
        ("unix:/run/redis.sock", RedisAddress::Unix("/run/redis.sock".into())),
    ] {
        assert_eq!(store(&format!("url: {url}")).servers, RedisServers::One(address), "{url}");
    }
    assert_eq!(
        store("cluster: ['redis://a', 'redis://b:7', 'redis://[::1]']").servers,
        RedisServers::Cluster(vec![tcp("a", 6379), tcp("b", 7), tcp("::1", 6379)])
    );
    let sentinel =
        "sentinel: {master: main, urls: ['rediss://s1', 'rediss://s2:7'], username: watcher, password_file: password}";
    assert_eq!(
        store(sentinel).servers,
        RedisServers::Sentinel {
            sentinels: vec![tcp("s1", 26379), tcp("s2", 7)],
            master: "main".to_owned(),
            username: Some("watcher".to_owned()),
            password: Some(Secret::new(PASSWORD.to_owned())),
        }
    );
    assert!(store(sentinel).tls.is_some() && store(sentinel).password.is_none());
}

#[test]
fn what_is_set_is_taken_and_no_password_is_printed() {
    let folder = secrets();
    folder.certificate("us");
    fs::create_dir(folder.path().join("journal")).unwrap();
    let source = with_store(
        "url: rediss://r, username: sidegate, password_file: password, database: 15, prefix: 'a.b_c-D:1', connections: 64, \
         timeout: 50ms, journal: journal, tls: {ca_file: us.pem, certificate_file: us.pem, key_file: us.key}",
    );
    let loaded = load_in(&folder, &source).unwrap();
    assert_eq!(loaded.warnings.len(), 0, "{:?}", loaded.warnings);
    let Store::Redis(store) = &loaded.config.store else { panic!() };
    assert_eq!(
        (store.username.as_deref(), store.password.as_ref().map(|p| p.expose().as_str())),
        (Some("sidegate"), Some(PASSWORD))
    );
    assert_eq!((store.database, store.prefix.as_str(), store.connections), (15, "a.b_c-D:1", 64));
    assert_eq!(
        (store.timeout, store.journal.clone()),
        (Duration::from_millis(50), Some(folder.path().join("journal")))
    );
    let read = |name| fs::read(folder.path().join(name)).unwrap();
    let tls = store.tls.as_ref().unwrap();
    let client = tls.client.as_ref().unwrap();
    assert_eq!(tls.ca, Some(read("us.pem")));
    assert_eq!((&client.chain, client.key.expose()), (&read("us.pem"), &read("us.key")));
    let printed = format!("{store:?}");
    assert!(!printed.contains(PASSWORD) && !printed.contains("PRIVATE"), "{printed}");
}

#[test]
fn there_is_one_store_and_one_way_to_it() {
    let both = with_store("url: 'redis://127.0.0.1'").replace("{redis:", "{memory: {}, redis:");
    let told = load_in(&secrets(), &both).unwrap_err().list;
    assert_eq!(
        told.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["c.yaml:1:8: store: memory and redis at once; keep one of them"]
    );
    assert_eq!(
        said("url: redis://r, cluster: ['redis://r']"),
        ["1:16: store.redis: url and cluster at once; keep one of them"]
    );
    assert_eq!(
        said("prefix: x"),
        [
            "1:16: store.redis: none of url, sentinel and cluster, so nobody knows where the servers are; write for example \
          url: rediss://redis.example.com:6379"
        ]
    );
}

#[test]
fn a_url_says_where_and_nothing_else() {
    let server = "write for example rediss://redis.example.com:6379, redis:// without TLS, or unix:/run/redis.sock";
    for (url, what) in [
        ("redis.svc:6379", format!("\"redis.svc:6379\" is not the URL of a Redis server; {server}")),
        ("valkey://r", format!("\"valkey://r\" is not the URL of a Redis server; {server}")),
        ("'redis://'", format!("\"redis://\" names no server; {server}")),
        (
            "redis://u:c4n4ry-s3cr3t@r",
            "the value carries a user or a password; write username and password_file beside it".to_owned(),
        ),
        (
            "redis://r/1",
            "\"redis://r/1\" has a path; write the number of a database as `database` of store.redis".to_owned(),
        ),
        (
            "redis://r?timeout=1s",
            "\"redis://r?timeout=1s\" has a query or a fragment; leave it out; what can be set are keys of store.redis"
                .to_owned(),
        ),
        (
            "'rediss://r#insecure'",
            "\"rediss://r#insecure\" has a query or a fragment; leave it out; what can be set are keys of store.redis"
                .to_owned(),
        ),
    ] {
        assert_eq!(said(&format!("url: {url}")), [format!("1:22: store.redis.url: {what}")], "{url}");
    }
}

#[test]
fn servers_of_one_list_differ_and_speak_tls_all_or_none() {
    assert_eq!(
        said("cluster: ['rediss://a', 'redis://b', 'rediss://a:6379', unix:/a, 'redis://b/1', x]"),
        [
            "1:41: store.redis.cluster[1]: \"redis://b\" is redis://, others are rediss://; use TLS for all of them or for none",
            "1:54: store.redis.cluster[2]: \"a:6379\" is already used by cluster[0]",
            "1:73: store.redis.cluster[3]: \"unix:/a\" is a socket of this machine; write url: unix:… instead, for one server",
            "1:82: store.redis.cluster[4]: \"redis://b/1\" has a path; leave it out; a Cluster has one database",
            "1:97: store.redis.cluster[5]: \"x\" is not the URL of a Redis server; write for example \
             rediss://redis-1.example.com:6379, or redis:// without TLS",
        ]
    );
    assert_eq!(
        said("cluster: []"),
        ["1:26: store.redis.cluster: no server is named; write for example [rediss://redis-1.example.com:6379]"]
    );
    assert_eq!(
        said("sentinel: {username: a b, urls: []}"),
        [
            "1:27: store.redis.sentinel.master: missing; write for example master: sidegate",
            "1:27: store.redis.sentinel.password_file: missing: a user is known by a password; write for example \
             password_file: secrets/redis",
            "1:38: store.redis.sentinel.username: \"a b\" is not the name of a user; write that of ACL SETUSER",
            "1:49: store.redis.sentinel.urls: no server is named; write for example \
             [rediss://sentinel-1.example.com:26379]",
        ]
    );
}

#[test]
fn what_is_out_of_range_is_a_problem() {
    let prefix = "cannot stand in front of keys; use 1 to 64 letters, digits, \".\", \"_\", \"-\" and \":\"";
    let long = "x".repeat(65);
    for (key, problem) in [
        ("database: 16", "database: 16 is not between 0 and 15".to_owned()),
        ("connections: 0", "connections: 0 is not between 1 and 64".to_owned()),
        ("timeout: 49ms", "timeout: 49ms is not between 50ms and 10s".to_owned()),
        ("prefix: ''", format!("prefix: \"\" {prefix}")),
        ("prefix: 'a b'", format!("prefix: \"a b\" {prefix}")),
        (&format!("prefix: {long}"), format!("prefix: \"{long}\" {prefix}")),
        ("prefix: '{a}'", format!("prefix: \"{{a}}\" {prefix}; braces decide the hash slot, and are set by sidegate")),
        ("username: ''", "username: \"\" is not the name of a user; write that of ACL SETUSER".to_owned()),
        ("password_file: gone", "password_file: \"HERE/gone\" cannot be read: there is no such file".to_owned()),
        ("journal: ''", "journal: empty; write for example journal: /var/lib/sidegate/journal".to_owned()),
        (
            "journal: ring",
            "journal: \"HERE/ring\" is not a folder; name one, for example journal: /var/lib/sidegate/journal"
                .to_owned(),
        ),
        (
            "tls: {}",
            "tls: given, but the servers are not rediss://; write rediss:// for TLS, or leave it out".to_owned(),
        ),
    ] {
        let told = said(&format!("{key}, url: 'redis://127.0.0.1'"));
        assert!(told.iter().any(|line| line.ends_with(&format!(" store.redis.{problem}"))), "{key}: {told:#?}");
    }
    assert_eq!(
        said("cluster: ['redis://a'], database: 0"),
        ["1:51: store.redis.database: a Cluster has one database; leave it out; prefix keeps sidegates apart"]
    );
    assert_eq!(
        said("url: 'rediss://a', tls: {ca_file: ring, key_file: ring}"),
        [
            "1:41: store.redis.tls.certificate_file: missing; certificate_file and key_file belong together",
            "1:51: store.redis.tls.ca_file: the file holds no certificate in PEM; it starts with -----BEGIN CERTIFICATE-----",
        ]
    );
}

#[test]
fn all_replicas_need_the_same_master_keys() {
    let with = |keys: &str| problems(&config(&format!("store: {{redis: {{url: 'redis://127.0.0.1'}}}}\n{keys}")));
    let missing = "keys.master_file: missing: what is kept in store.redis is sealed under it, and all replicas need the \
                   same; sidegate keys master > FILE makes one; mount it in every replica";
    assert_eq!(with(""), [format!("1:1: {missing}")]);
    assert_eq!(
        with("keys: {generate: true}\n"),
        [
            format!("2:7: {missing}"),
            "2:18: keys.generate: with store.redis each replica would make its own, and none could read what another one \
             keeps; make one with sidegate keys master > FILE, and give it to all replicas as master_file"
                .to_owned(),
        ]
    );
    let folder = secrets();
    let source = with_store("url: 'redis://127.0.0.1'").replace("keys: {", "keys: {generate: true, ");
    assert_eq!(load_in(&folder, &source).unwrap_err().list.len(), 1, "also where the file is there");
}

#[test]
fn what_can_be_read_on_the_way_is_warned_of() {
    let plain = "is without TLS: passwords, and what of a session is not sealed, can be read and changed on the way; write \
                 rediss://, unless you trust the network in between";
    assert_eq!(said("url: redis://redis.svc"), [format!("1:22: store.redis.url: \"redis://redis.svc\" {plain}")]);
    assert_eq!(
        said("cluster: ['redis://[::1]', 'redis://10.0.0.1', 'redis://10.0.0.2']"),
        [format!("1:44: store.redis.cluster[1]: \"redis://10.0.0.1\" {plain}")],
        "once"
    );
    for here in
        ["redis://127.0.0.2", "redis://localhost:7", "redis://[::1]", "rediss://redis.svc", "unix:/run/redis.sock"]
    {
        assert_eq!(said(&format!("url: '{here}'")), NOTHING, "{here}");
    }
}

#[test]
fn a_journal_is_missed_where_an_authority_outside_vouches() {
    let journal = |journal: &str| {
        let source = "authority: {issuer: 'https://auth.example.com', audiences: [api], clients: [{id: app, public: true, grants: \
             [authorization_code], redirect_uris: ['https://app.example.com/cb']}], remote: {dialect: oauth2, issuer: \
             'https://idp.example.com', client: {id: sidegate}, timeout: 125ms}}\nrefresh: {wait: 100ms}\n".to_owned();
        let folder = secrets();
        let source = config(&(source + &with_store(&format!("url: 'redis://127.0.0.1'{journal}"))));
        let loaded = load_in(&folder, &source).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(loaded.config.authority.unwrap().remote.unwrap().timeout, Duration::from_millis(125));
        let here = folder.path().to_str().unwrap();
        let words = |w: &Warning| format!("{}: {}; {}", w.path, w.message, w.remedy).replace(here, "HERE");
        loaded.warnings.iter().map(words).collect::<Vec<_>>()
    };
    assert_eq!(
        journal(""),
        [
            "store.redis.journal: missing: what the authority outside gives while the servers are away is lost if this process \
          ends then; name a folder on a disk that outlives the process, for example journal: /var/lib/sidegate/journal"
        ]
    );
    assert_eq!(
        journal(", journal: gone/journal"),
        [
            "store.redis.journal: there is no folder for \"HERE/gone/journal\"; make it, and let the user that sidegate runs as write in it"
        ]
    );
    for there in [".", "journal"] {
        assert_eq!(journal(&format!(", journal: {there}")), NOTHING);
    }
}

#[test]
fn a_value_from_the_environment_is_not_shown() {
    for key in [
        "url: 'redis://${X}'",
        "url: 'rediss://${X}/${X}'",
        "cluster: ['${X}']",
        "prefix: '${X} '",
        "username: '${X} '",
    ] {
        let more = if key.starts_with("url") { "" } else { ", url: 'redis://127.0.0.1'" };
        let source = format!("store: {{redis: {{{key}{more}}}}}");
        let text = match load_with(&config(&source), &[("X", PASSWORD)]) {
            Ok(loaded) => format!("{:?}", loaded.warnings),
            Err(problems) => format!("{problems}\n{problems:?}"),
        };
        assert!(!text.contains(PASSWORD), "{source}\n{text}");
    }
    assert!(told("store: {redis: {password: c4n4ry-s3cr3t}}").iter().all(|line| !line.contains(PASSWORD)));
}
