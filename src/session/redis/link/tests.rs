//! Against real servers.

mod cluster;
mod sentinel;
mod tls;

use redis::FromRedisValue;

use super::*;
use crate::{
    config::RedisAddress,
    model::Secret,
    session::redis::testing::{self, Proxy, Server as TestServer, metrics},
};

fn link(settings: &RedisStore) -> Link {
    let metrics = metrics();
    Link::new(settings, Time::default(), &Handle::current(), metrics).unwrap()
}

/// That do not wait long.
fn settings(servers: RedisServers) -> RedisStore {
    RedisStore { timeout: Duration::from_secs(1), prefix: "test".to_owned(), ..testing::settings(servers) }
}

fn one(server: &TestServer) -> RedisStore {
    settings(RedisServers::One(server.at()))
}

async fn ask<T: FromRedisValue>(link: &Link, question: &[&str]) -> Result<T, String> {
    let answer = link.ask(cmd(question[0]).arg(&question[1..])).await.map_err(|error| error.to_string())?;
    Ok(redis::from_redis_value(answer).unwrap())
}

async fn refused(link: &Link, question: &[&str]) -> String {
    ask::<Value>(link, question).await.unwrap_err()
}

/// Asks until there is an answer; how long that took.
async fn until_answered(link: &Link, question: &[&str], patience: Duration) -> Duration {
    let start = Clock::now();
    loop {
        match ask::<Value>(link, question).await {
            Ok(_) => return start.elapsed(),
            Err(error) if start.elapsed() > patience => panic!("still {error}"),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

#[tokio::test]
async fn a_script_is_sent_whole_only_to_a_server_that_does_not_know_it() {
    let server = TestServer::start();
    let link = link(&one(&server));
    let script = Script::new(&["redis.call('SET', KEYS[1], ARGV[1])", "\nreturn {KEYS[1], #ARGV}"]);
    for round in 0..3 {
        let value = link.run(&script, &["a key"], &[format!("{round}").as_bytes(), b"\xff"]).await.unwrap();
        assert_eq!(redis::from_redis_value::<(String, u64)>(value).unwrap(), ("a key".to_owned(), 2));
        assert_eq!(server.ask::<u32>(&["GET", "a key"]), round);
        if round == 1 {
            server.ask::<()>(&["SCRIPT", "FLUSH"]);
        }
    }
    let stats: String = server.ask(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_eval:calls=2,"), "{stats}");
    assert!(stats.contains("cmdstat_evalsha:calls=3,"), "{stats}");
    let error = link.run(&Script::new(&["return redis.call('GET')"]), &["k"], &[""; 0]).await.unwrap_err();
    assert!(error.to_string().contains("Wrong number of args"), "{error}");
}

#[tokio::test]
async fn many_questions_are_answered_in_their_order_over_as_many_connections_as_are_set() {
    let server = TestServer::start();
    let settings = RedisStore { connections: 3, database: 5, ..one(&server) };
    let link = link(&settings);
    let echo = |number: i32| cmd("ECHO").arg(number).to_owned();
    let answers = link.ask_all(&(0..500).map(echo).collect::<Vec<_>>()).await.unwrap();
    let numbers: Vec<i32> = answers.into_iter().map(|answer| redis::from_redis_value(answer).unwrap()).collect();
    assert_eq!(numbers, (0..500).collect::<Vec<_>>());
    until_open(&link, 3).await;
    let clients: String = server.ask(&["CLIENT", "LIST"]);
    assert_eq!(clients.matches(" db=5 ").count(), 3, "{clients}");
}

async fn until_open(link: &Link, connections: i64) {
    let start = Clock::now();
    while link.metrics().connections.get() != connections {
        assert!(start.elapsed() < Duration::from_secs(5), "{} are open", link.metrics().connections.get());
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_server_at_a_socket_is_asked_there_and_its_clock_is_heard() {
    let server = TestServer::start();
    let mut settings = one(&server);
    settings.servers = RedisServers::One(RedisAddress::Unix(server.socket()));
    let metrics = metrics();
    let slow = Link::new(&settings, Time::default().wrong_by(-90), &Handle::current(), metrics).unwrap();
    assert_eq!(ask::<String>(&slow, &["PING"]).await.unwrap(), "PONG");
    assert!((89_900..=90_001).contains(&slow.ahead()), "{}", slow.ahead());
    drop(slow);
    // With the last who uses them, connections are closed.
    let start = Clock::now();
    while server.ask::<String>(&["CLIENT", "LIST"]).lines().count() > 1 {
        assert!(start.elapsed() < Duration::from_secs(5));
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn while_the_server_is_away_steps_fail_at_once_and_it_is_back_soon_after_it_returns() {
    let mut server = TestServer::start();
    let link = link(&one(&server));
    ask::<Value>(&link, &["PING"]).await.unwrap();
    server.kill();
    let away = refused(&link, &["PING"]).await;
    assert!(away.contains(&format!("127.0.0.1:{}: Connection refused", server.port())), "{away}");
    let start = Clock::now();
    for _ in 0..20 {
        refused(&link, &["PING"]).await;
    }
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    // As long as it takes until the pauses are the longest.
    sleep(Duration::from_millis(1500)).await;
    server.start_again();
    let after = until_answered(&link, &["PING"], Duration::from_secs(5)).await;
    assert!(after < Duration::from_millis(1500), "{after:?}");
    assert!(link.metrics().failed.get() < 40, "{}", link.metrics().failed.get());
}

#[tokio::test]
async fn a_server_that_was_away_from_the_beginning_is_found_when_it_comes() {
    let mut server = TestServer::start();
    server.kill();
    let link = link(&one(&server));
    refused(&link, &["PING"]).await;
    server.start_again();
    let after = until_answered(&link, &["PING"], Duration::from_secs(5)).await;
    assert!(after < Duration::from_millis(1500), "{after:?}");
}

#[tokio::test]
async fn a_server_that_is_stuck_costs_nobody_more_than_the_timeout() {
    let server = TestServer::start();
    let settings = RedisStore { timeout: Duration::from_millis(300), ..one(&server) };
    let link = link(&settings);
    ask::<Value>(&link, &["SET", "count", "0"]).await.unwrap();
    until_open(&link, 2).await;
    server.stall();
    let start = Clock::now();
    let all = futures_util::future::join_all((0..50).map(|_| refused(&link, &["INCR", "count"]))).await;
    assert!(start.elapsed() < Duration::from_millis(600), "{:?}", start.elapsed());
    assert!(all[0].contains("no answer in time"), "{}", all[0]);
    // Connecting is tried, and those who wait for that do so no longer either.
    let start = Clock::now();
    refused(&link, &["INCR", "count"]).await;
    assert!(start.elapsed() < Duration::from_millis(600), "{:?}", start.elapsed());
    sleep(Duration::from_millis(400)).await;
    let start = Clock::now();
    let error = refused(&link, &["INCR", "count"]).await;
    assert!(start.elapsed() < Duration::from_millis(50), "{:?}: {error}", start.elapsed());
    server.go_on();
    let after = until_answered(&link, &["PING"], Duration::from_secs(5)).await;
    assert!(after < Duration::from_millis(1500), "{after:?}");
    // What had no answer in time may have been done, but by nobody twice.
    assert!(ask::<u32>(&link, &["GET", "count"]).await.unwrap() <= 51);
}

#[tokio::test]
async fn a_server_that_is_slow_but_not_too_slow_for_a_step_is_reached() {
    let server = TestServer::start();
    let proxy = Proxy::start(server.port()).await;
    proxy.delay(Duration::from_millis(250));
    let password = Some(Secret::new("right".to_owned()));
    server.ask::<()>(&["ACL", "SETUSER", "default", ">right"]);
    let timeout = Duration::from_millis(400);
    let link = link(&RedisStore { password, timeout, ..settings(RedisServers::One(proxy.at())) });
    let after = until_answered(&link, &["PING"], Duration::from_secs(5)).await;
    assert!(after < Duration::from_secs(2), "{after:?}");
    for _ in 0..3 {
        ask::<Value>(&link, &["PING"]).await.unwrap();
    }
}

#[tokio::test]
async fn a_step_whose_connection_breaks_is_taken_once_more_and_nobody_notices() {
    let server = TestServer::start();
    let proxy = Proxy::start(server.port()).await;
    let settings = settings(RedisServers::One(proxy.at()));
    let link = link(&settings);
    ask::<Value>(&link, &["SET", "count", "0"]).await.unwrap();
    for _ in 0..3 {
        until_open(&link, 2).await;
        // What is sent arrives, and no answer comes back.
        proxy.hold_answers(true);
        let (count, ()) = tokio::join!(ask::<u32>(&link, &["INCR", "count"]), async {
            sleep(Duration::from_millis(50)).await;
            proxy.cut();
            proxy.hold_answers(false);
        });
        count.unwrap();
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(server.ask::<u32>(&["GET", "count"]), 6);
}

#[tokio::test]
async fn a_connection_on_which_answers_still_come_is_kept_when_one_comes_too_late() {
    let server = TestServer::start();
    let settings = RedisStore { connections: 1, timeout: Duration::from_millis(600), ..one(&server) };
    let link = link(&settings);
    ask::<Value>(&link, &["PING"]).await.unwrap();
    let slow = "local t = redis.call('TIME') local at = t[1] * 1000000 + t[2] \
                repeat local u = redis.call('TIME') until u[1] * 1000000 + u[2] > at + 450000 return 1";
    let question = ["EVAL", slow, "0"];
    // The second waits for the first, and is not done before 900 ms.
    let (first, second) = tokio::join!(ask::<Value>(&link, &question), async {
        sleep(Duration::from_millis(150)).await;
        refused(&link, &question).await
    });
    first.unwrap();
    assert!(second.contains("no answer in time"), "{second}");
    until_answered(&link, &["PING"], Duration::from_secs(3)).await;
    assert_eq!(link.metrics().connected.get(), 1);
}

#[tokio::test]
async fn a_server_that_has_become_a_replica_is_left_until_it_is_the_master_again() {
    let (master, server) = (TestServer::start(), TestServer::start());
    let link = link(&one(&server));
    ask::<Value>(&link, &["SET", "key", "1"]).await.unwrap();
    server.ask::<()>(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    let error = refused(&link, &["SET", "key", "2"]).await;
    assert!(error.contains("is a replica, and takes no changes"), "{error}");
    // Not by a storm of connections.
    for _ in 0..100 {
        refused(&link, &["SET", "key", "2"]).await;
        sleep(Duration::from_millis(5)).await;
    }
    assert!(link.metrics().connected.get() < 30, "{}", link.metrics().connected.get());
    server.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
    let after = until_answered(&link, &["SET", "key", "3"], Duration::from_secs(5)).await;
    assert!(after < Duration::from_millis(1500), "{after:?}");
}

#[tokio::test]
async fn users_and_passwords_are_those_of_the_acl_and_a_refusal_names_the_remedy() {
    let user = ["--user", "sidegate", "on", ">right", "~test:*", "&test:*", "+@all", "-flushall"];
    let server = TestServer::with(&[&user[..], &["--requirepass", "other"]].concat());
    let with = |name: Option<&str>, password: Option<&str>| RedisStore {
        username: name.map(ToOwned::to_owned),
        password: password.map(|password| Secret::new(password.to_owned())),
        ..one(&server)
    };
    let right = link(&with(Some("sidegate"), Some("right")));
    ask::<Value>(&right, &["SET", "test:a", "1"]).await.unwrap();
    let error = refused(&right, &["SET", "elsewhere", "1"]).await;
    assert!(error.contains("its ACL must allow the keys and channels of the prefix"), "{error}");
    let error = refused(&right, &["FLUSHALL"]).await;
    assert!(error.contains("flushall"), "{error}");
    // That is no reason to let go of a connection.
    assert!(right.metrics().connected.get() <= 2);
    ask::<Value>(&link(&with(None, Some("other"))), &["SET", "elsewhere", "1"]).await.unwrap();

    for (name, password) in [(Some("sidegate"), Some("wrong")), (Some("nobody"), Some("right")), (None, Some("wrong"))]
    {
        let error = refused(&link(&with(name, password)), &["PING"]).await;
        assert!(error.contains("compare `username` and `password_file` with its ACL"), "{error}");
        assert!(!error.contains("wrong"), "{error}");
    }
    let error = refused(&link(&with(None, None)), &["PING"]).await;
    assert!(error.contains("wants a password: set `password_file`"), "{error}");
}

#[tokio::test]
async fn a_full_server_and_a_foreign_key_are_told_apart_from_one_that_is_away() {
    let server = TestServer::start();
    let link = link(&one(&server));
    ask::<Value>(&link, &["SADD", "set", "1"]).await.unwrap();
    let error = refused(&link, &["HGET", "set", "1"]).await;
    assert!(error.contains("another program uses the same `prefix`"), "{error}");
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = refused(&link, &["SET", "key", "1"]).await;
    assert!(error.contains("is at its `maxmemory`"), "{error}");
}

#[test]
fn the_slot_is_that_of_the_first_key() {
    let of = |parts: &[&str]| slot(cmd(parts[0]).arg(&parts[1..]));
    let key = Some(Slot::for_key("{a}:b"));
    assert_eq!(of(&["HGETALL", "{a}:b"]), key);
    assert_eq!(of(&["EVALSHA", "0123", "2", "{a}:b", "{b}:c", "x"]), key);
    assert_eq!(of(&["EVAL", "return 1", "0", "x"]), None);
    assert_eq!(of(&["PUBLISH", "{a}:b", "x"]), None);
    assert_eq!(of(&["PING"]), None);
}
