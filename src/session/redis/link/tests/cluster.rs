//! Three servers that share the keys.

use super::*;
use crate::session::redis::testing::{cluster, member};

fn of(servers: &[TestServer]) -> RedisStore {
    settings(RedisServers::Cluster(servers.iter().map(TestServer::at).collect()))
}

fn keys(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("{{{number:02x}}}:key"))
}

/// Which of them has the key.
fn owner(servers: &[TestServer], key: &str) -> usize {
    let slot: u16 = servers[0].ask(&["CLUSTER", "KEYSLOT", key]);
    usize::from(slot > 5460) + usize::from(slot > 10922)
}

#[tokio::test]
async fn every_key_is_asked_for_where_it_is_and_what_has_none_anywhere() {
    let servers = cluster(&[]);
    // One is enough to learn of the others.
    let link = link(&of(&servers[..1]));
    let sets: Vec<Cmd> = keys(200).map(|key| cmd("SET").arg(&key).arg(&key).to_owned()).collect();
    link.ask_all(&sets).await.unwrap();
    let gets: Vec<Cmd> = keys(200).map(|key| cmd("GET").arg(&key).to_owned()).collect();
    let found = link.ask_all(&gets).await.unwrap();
    for (key, found) in keys(200).zip(found) {
        assert_eq!(redis::from_redis_value::<String>(found).unwrap(), key);
    }
    for server in &servers {
        assert!(server.ask::<u32>(&["DBSIZE"]) > 20);
        let stats: String = server.ask(&["INFO", "errorstats"]);
        assert!(!stats.contains("MOVED"), "{stats}");
    }
    assert_eq!(ask::<String>(&link, &["PING"]).await.unwrap(), "PONG");
    let script = Script::new(&["return redis.call('GET', KEYS[1]) .. redis.call('GET', KEYS[2])"]);
    for key in keys(20) {
        let value = link.run(&script, &[&key, &key], &[""; 0]).await.unwrap();
        assert_eq!(redis::from_redis_value::<String>(value).unwrap(), format!("{key}{key}"));
    }
}

#[tokio::test]
async fn a_slot_moves_under_load_and_no_step_fails_or_is_taken_twice() {
    let servers = cluster(&[]);
    let link = Arc::new(link(&of(&servers)));
    let tag = keys(100).find(|key| owner(&servers, key) == 0).unwrap();
    let tag = tag.split(':').next().unwrap().to_owned();
    let slot: u16 = servers[0].ask(&["CLUSTER", "KEYSLOT", &tag]);
    let slot = slot.to_string();
    let names: Vec<String> = (0..50).map(|number| format!("{tag}:{number}")).collect();
    for name in &names {
        ask::<Value>(&link, &["SET", name, "0"]).await.unwrap();
    }
    let script = Arc::new(Script::new(&["redis.call('INCR', KEYS[1]) return redis.call('INCR', KEYS[2])"]));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let steps: Vec<_> = (0..4)
        .map(|worker| {
            let (link, script, names, stopped) = (link.clone(), script.clone(), names.clone(), stopped.clone());
            tokio::spawn(async move {
                let mut done = 0;
                while !*stopped.borrow() {
                    // Two keys, which for a while are not in the same place.
                    let pair = [&names[(done + worker) % 50], &names[(done + worker + 25) % 50]];
                    link.run(&script, &pair, &[""; 0]).await.unwrap();
                    done += 1;
                }
                done
            })
        })
        .collect();
    let ids: Vec<String> = servers.iter().map(|server| server.ask(&["CLUSTER", "MYID"])).collect();
    let port = servers[1].port().to_string();
    let names_moved = names.clone();
    let servers = tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(200));
        servers[1].ask::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[0]]);
        servers[0].ask::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[1]]);
        for name in &names_moved {
            servers[0].ask::<Value>(&["MIGRATE", "127.0.0.1", &port, name, "0", "1000"]);
            std::thread::sleep(Duration::from_millis(2));
        }
        for server in [&servers[1], &servers[0], &servers[2]] {
            server.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[1]]);
        }
        std::thread::sleep(Duration::from_millis(300));
        servers
    })
    .await
    .unwrap();
    stop.send_replace(true);
    let mut done = 0;
    for step in steps {
        done += step.await.unwrap();
    }
    assert!(done > 100, "{done}");
    let mut counted = 0;
    for name in &names {
        counted += ask::<usize>(&link, &["GET", name]).await.unwrap();
    }
    assert_eq!(counted, 2 * done);
    assert_eq!(servers[1].ask::<usize>(&["DBSIZE"]), 50);
}

#[tokio::test]
async fn a_node_that_is_away_or_stuck_takes_only_its_own_keys_with_it() {
    let mut servers = cluster(&[]);
    let settings = RedisStore { timeout: Duration::from_millis(500), ..of(&servers) };
    let link = link(&settings);
    let all: Vec<(String, usize)> = keys(30).map(|key| (key.clone(), owner(&servers, &key))).collect();
    for (key, _) in &all {
        ask::<Value>(&link, &["SET", key, "1"]).await.unwrap();
    }
    for stuck in [false, true] {
        if stuck {
            servers[2].stall();
        } else {
            servers[2].kill();
        }
        let start = Clock::now();
        while start.elapsed() < Duration::from_millis(1200) {
            for (key, owner) in &all {
                let start = Clock::now();
                let answer = ask::<u32>(&link, &["GET", key]).await;
                assert_eq!(answer.is_ok(), *owner != 2, "{key}: {answer:?}");
                assert!(*owner == 2 || start.elapsed() < Duration::from_millis(250), "{key}: {:?}", start.elapsed());
            }
            sleep(Duration::from_millis(20)).await;
        }
        if stuck {
            servers[2].go_on();
        } else {
            servers[2].start_again();
        }
        for (key, _) in &all {
            let after = until_answered(&link, &["GET", key], Duration::from_secs(10)).await;
            assert!(after < Duration::from_secs(4), "{after:?}");
        }
        for (key, _) in &all {
            ask::<Value>(&link, &["SET", key, "1"]).await.unwrap();
        }
    }
}

#[tokio::test]
async fn when_a_node_dies_its_replica_is_asked() {
    let at_once = ["--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"];
    let mut servers = cluster(&at_once);
    let replica = member(&at_once);
    replica.ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &servers[0].port().to_string()]);
    let id: String = servers[2].ask(&["CLUSTER", "MYID"]);
    let until = async |server: &TestServer, question: &[&str], answer: &str| {
        let start = Clock::now();
        while !server.ask::<String>(question).contains(answer) {
            assert!(start.elapsed() < Duration::from_secs(20), "never {answer}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    until(&replica, &["CLUSTER", "NODES"], &id).await;
    replica.ask::<()>(&["CLUSTER", "REPLICATE", &id]);
    until(&replica, &["INFO", "replication"], "master_link_status:up").await;
    let link = link(&of(&servers));
    let key = keys(100).find(|key| owner(&servers, key) == 2).unwrap();
    ask::<Value>(&link, &["SET", &key, "1"]).await.unwrap();
    for server in &servers[..2] {
        until(server, &["CLUSTER", "NODES"], "slave").await;
    }
    servers[2].kill();
    let after = until_answered(&link, &["SET", &key, "2"], Duration::from_secs(20)).await;
    assert!(after < Duration::from_secs(10), "{after:?}");
    assert_eq!(replica.ask::<u32>(&["GET", &key]), 2);
}

#[tokio::test]
async fn settings_that_say_another_kind_of_server_are_told_so() {
    let servers = cluster(&[]);
    let far = keys(100).find(|key| owner(&servers, key) == 2).unwrap();
    let error = refused(&link(&one(&servers[0])), &["GET", &far]).await;
    assert!(error.contains("name its nodes in `cluster`"), "{error}");
    let alone = TestServer::start();
    let error = refused(&link(&of(&[alone])), &["GET", "key"]).await;
    assert!(error.contains("cluster support disabled"), "{error}");
}
