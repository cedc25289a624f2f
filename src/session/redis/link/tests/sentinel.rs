//! Two servers, three sentinels that watch over them, and a failover.

use std::fs;

use super::*;
use crate::session::redis::testing::at;

struct Watched {
    master: TestServer,
    replica: TestServer,
    sentinels: Vec<TestServer>,
}

/// All with passwords, those of the sentinels other than those of the servers.
fn watched() -> Watched {
    let secured = ["--requirepass", "data", "--masterauth", "data", "--repl-diskless-sync-delay", "0"];
    let master = TestServer::with(&secured);
    let port = master.port().to_string();
    let replica = TestServer::with(&[&secured[..], &["--replicaof", "127.0.0.1", &port]].concat());
    let start = Clock::now();
    while !replica.ask_as::<String>("data", &["INFO", "replication"]).contains("master_link_status:up") {
        assert!(start.elapsed() < Duration::from_secs(20), "the replica does not follow");
        std::thread::sleep(Duration::from_millis(20));
    }
    let sentinel = |_| {
        TestServer::start_with(|_, folder| {
            let settings = format!(
                "sentinel monitor sidegate 127.0.0.1 {port} 2\nsentinel auth-pass sidegate data\n\
                 sentinel down-after-milliseconds sidegate 300\nsentinel failover-timeout sidegate 2000\n\
                 requirepass guard\nsentinel sentinel-pass guard\n"
            );
            fs::write(folder.path("sentinel.conf"), settings).unwrap();
            vec![folder.path("sentinel.conf").to_str().unwrap().to_owned(), "--sentinel".to_owned()]
        })
    };
    let sentinels: Vec<TestServer> = (0..3).map(sentinel).collect();
    // They know one another and the replica: else none would be elected.
    for sentinel in &sentinels {
        loop {
            let known: Vec<std::collections::HashMap<String, String>> =
                sentinel.ask_as("guard", &["SENTINEL", "MASTERS"]);
            if known[0]["num-other-sentinels"] == "2" && known[0]["num-slaves"] == "1" {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "the sentinels do not find one another");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Watched { master, replica, sentinels }
}

fn by_sentinels(sentinels: Vec<RedisAddress>, password: &str) -> RedisStore {
    let secret = |text: &str| Some(Secret::new(text.to_owned()));
    let servers =
        RedisServers::Sentinel { sentinels, master: "sidegate".to_owned(), username: None, password: secret(password) };
    RedisStore { password: secret("data"), ..settings(servers) }
}

#[tokio::test]
async fn when_the_master_dies_the_one_that_the_sentinels_elect_is_asked() {
    let Watched { mut master, replica, sentinels } = watched();
    // One of those that are named is no more.
    let mut named: Vec<RedisAddress> = sentinels.iter().map(TestServer::at).collect();
    named.insert(0, at(1));
    let link = link(&by_sentinels(named, "guard"));
    ask::<Value>(&link, &["SET", "key", "1"]).await.unwrap();
    assert_eq!(ask::<u32>(&link, &["WAIT", "1", "500"]).await.unwrap(), 1);
    master.kill();
    let start = Clock::now();
    let away = refused(&link, &["SET", "key", "2"]).await;
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}: {away}", start.elapsed());
    let after = until_answered(&link, &["SET", "key", "3"], Duration::from_secs(30)).await;
    assert_eq!(replica.ask_as::<u32>("data", &["GET", "key"]), 3);
    // Electing takes most of it.
    assert!(after < Duration::from_secs(10), "{after:?}");

    // The old master is back, and made a replica: nobody writes to it.
    master.start_again();
    until_answered(&link, &["SET", "key", "4"], Duration::from_secs(5)).await;
    assert_eq!(replica.ask_as::<u32>("data", &["GET", "key"]), 4);
}

#[tokio::test]
async fn a_sentinel_that_tells_of_a_replica_is_not_believed() {
    let (master, replica) = (TestServer::start(), TestServer::start());
    replica.ask::<()>(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    let liar = TestServer::start_with(|_, folder| {
        let settings = format!("sentinel monitor sidegate 127.0.0.1 {} 1\n", replica.port());
        fs::write(folder.path("sentinel.conf"), settings).unwrap();
        vec![folder.path("sentinel.conf").to_str().unwrap().to_owned(), "--sentinel".to_owned()]
    });
    let mut settings = by_sentinels(vec![liar.at()], "");
    settings.password = None;
    let RedisServers::Sentinel { password, .. } = &mut settings.servers else { unreachable!() };
    *password = None;
    let link = link(&settings);
    let error = refused(&link, &["PING"]).await;
    assert!(error.contains("is not the master yet, or no more"), "{error}");
}

/// A sentinel that watches nobody but this server, and knows of the election with this number.
fn sentinel_of(server: &TestServer, epoch: u32) -> TestServer {
    TestServer::start_with(|_, folder| {
        let port = server.port();
        let settings =
            format!("sentinel monitor sidegate 127.0.0.1 {port} 2\nsentinel config-epoch sidegate {epoch}\n");
        fs::write(folder.path("sentinel.conf"), settings).unwrap();
        vec![folder.path("sentinel.conf").to_str().unwrap().to_owned(), "--sentinel".to_owned()]
    })
}

#[tokio::test]
async fn of_two_masters_the_one_that_was_elected_last_is_asked_also_if_the_other_answers_as_before() {
    let (old, new) = (TestServer::start(), TestServer::start());
    // Cut off from the others: it knows of no election, and neither does the old master.
    let cut_off = sentinel_of(&old, 0);
    let elected = sentinel_of(&new, 1);
    let open = |sentinels| RedisStore {
        servers: RedisServers::Sentinel { sentinels, master: "sidegate".to_owned(), username: None, password: None },
        ..one(&old)
    };
    let both = link(&open(vec![cut_off.at(), elected.at()]));
    for _ in 0..10 {
        ask::<Value>(&both, &["INCR", "count"]).await.unwrap();
    }
    assert_eq!(new.ask::<u32>(&["GET", "count"]), 10);

    // The same for who was there before the election.
    let sentinel = sentinel_of(&old, 0);
    let before = link(&open(vec![sentinel.at()]));
    ask::<Value>(&before, &["SET", "key", "1"]).await.unwrap();
    assert_eq!(old.ask::<u32>(&["GET", "key"]), 1);
    sentinel.ask::<()>(&["SENTINEL", "REMOVE", "sidegate"]);
    sentinel.ask::<()>(&["SENTINEL", "MONITOR", "sidegate", "127.0.0.1", &new.port().to_string(), "2"]);
    let start = Clock::now();
    while new.ask::<Option<u32>>(&["GET", "key"]) != Some(2) {
        assert!(start.elapsed() < Duration::from_secs(15), "the new master is not found");
        ask::<Value>(&before, &["SET", "key", "2"]).await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn what_sentinels_refuse_or_do_not_know_is_told() {
    let sentinel = TestServer::start_with(|_, folder| {
        fs::write(folder.path("sentinel.conf"), "requirepass guard\n").unwrap();
        vec![folder.path("sentinel.conf").to_str().unwrap().to_owned(), "--sentinel".to_owned()]
    });
    let error = refused(&link(&by_sentinels(vec![sentinel.at()], "wrong")), &["PING"]).await;
    assert!(error.contains("refuses the password"), "{error}");
    let error = refused(&link(&by_sentinels(vec![sentinel.at(), at(1)], "guard")), &["PING"]).await;
    assert!(error.contains("knows no master \"sidegate\""), "{error}");
    assert!(error.contains("sentinel 127.0.0.1:1: Connection refused"), "{error}");
}
