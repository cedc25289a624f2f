//! Against real servers.

use tokio::{
    sync::broadcast::{Receiver, error::TryRecvError},
    time::timeout,
};

use super::*;
use crate::{
    config::{RedisServers, RedisStore},
    model::Time,
    session::{
        SessionStore,
        record::RevocationReason,
        redis::{
            Redis,
            testing::{Proxy, Server, cluster, metrics, settings},
        },
        testing::{ring, session},
    },
};

fn listener(settings: &RedisStore) -> Listener {
    let background = Handle::current();
    let settings = RedisStore { timeout: Duration::from_secs(1), ..settings.clone() };
    let link = Arc::new(Link::new(&settings, Time::default(), &background, metrics()).unwrap());
    let pace = Pace { beat: Duration::from_millis(100), patience: Duration::from_millis(500) };
    Listener::start(link, &background, &settings.prefix, pace).unwrap()
}

async fn next(news: &mut Receiver<News>) -> News {
    timeout(Duration::from_secs(5), news.recv()).await.expect("no news").unwrap()
}

#[tokio::test]
async fn what_others_publish_is_heard_and_what_makes_no_sense_is_not() {
    let server = Server::start();
    let listener = listener(&server.settings());
    let mut news = listener.subscribe();
    assert_eq!(next(&mut news).await, News::Missed, "somebody was there before anything could be heard");
    let mut late = listener.subscribe();
    let (ended, renewed) = (SessionId::random().unwrap(), SessionId::random().unwrap());
    let publish = |channel: &str, text: &str| server.ask::<u32>(&["PUBLISH", &format!("sidegate:{channel}"), text]);
    for nonsense in ["", "short", &"x".repeat(23), "\u{e9}", &"x".repeat(100_000)] {
        publish("ended", nonsense);
        publish("beat", nonsense);
    }
    publish("ended", &ended.to_string());
    publish("renewed", &renewed.to_string());
    publish("document", "signing keys");
    for news in [&mut news, &mut late] {
        assert_eq!(next(news).await, News::Ended(ended));
        assert_eq!(next(news).await, News::Renewed(renewed));
        assert_eq!(next(news).await, News::Document);
    }
    // Beats are nobody's news.
    sleep(Duration::from_millis(700)).await;
    assert_eq!(news.try_recv(), Err(TryRecvError::Empty));
    drop(listener);
    assert_eq!(timeout(Duration::from_secs(5), news.recv()).await.unwrap(), Err(broadcast::error::RecvError::Closed));
}

#[tokio::test]
async fn what_one_process_does_with_the_store_is_news_to_another() {
    let server = Server::start();
    let open = || Redis::open(&server.settings(), ring(&[1]), Time::default(), &Handle::current(), metrics()).unwrap();
    let (here, there) = (open(), open());
    let mut news = there.news().unwrap();
    assert_eq!(next(&mut news).await, News::Missed);
    let session = session("ada", here.now());
    here.create(session.clone(), 10).await.unwrap();
    here.revoke(session.id, RevocationReason::Operator).await.unwrap();
    assert_eq!(next(&mut news).await, News::Ended(session.id));
    assert!(here.save("signing keys", 0, b"keys".to_vec()).await.unwrap());
    assert_eq!(next(&mut news).await, News::Document);
}

#[tokio::test]
async fn in_a_cluster_it_does_not_matter_where_something_is_published() {
    let servers = cluster(&[]);
    let listener = listener(&settings(RedisServers::Cluster(vec![servers[1].at()])));
    let mut news = listener.subscribe();
    assert_eq!(next(&mut news).await, News::Missed);
    for server in &servers {
        let ended = SessionId::random().unwrap();
        server.ask::<u32>(&["PUBLISH", "sidegate:ended", &ended.to_string()]);
        assert_eq!(next(&mut news).await, News::Ended(ended));
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_is_told_at_once_and_what_was_missed_when_it_is_back() {
    let mut server = Server::start();
    let listener = listener(&server.settings());
    let mut news = listener.subscribe();
    assert_eq!(next(&mut news).await, News::Missed);
    let start = Instant::now();
    server.kill();
    assert_eq!(next(&mut news).await, News::Deaf);
    assert!(start.elapsed() < Duration::from_millis(300), "{:?}", start.elapsed());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(news.try_recv(), Err(TryRecvError::Empty), "it is told once");
    server.start_again();
    let start = Instant::now();
    assert_eq!(next(&mut news).await, News::Missed);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let ended = SessionId::random().unwrap();
    server.ask::<u32>(&["PUBLISH", "sidegate:ended", &ended.to_string()]);
    assert_eq!(next(&mut news).await, News::Ended(ended));
}

#[tokio::test]
async fn a_subscription_that_says_nothing_any_more_is_found_out_by_the_own_beat() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let listener = listener(&settings(RedisServers::One(proxy.at())));
    let mut news = listener.subscribe();
    assert_eq!(next(&mut news).await, News::Missed);
    sleep(Duration::from_millis(300)).await;
    let start = Instant::now();
    // As if a firewall had forgotten the connections.
    proxy.hold_answers(true);
    assert_eq!(next(&mut news).await, News::Deaf);
    let after = start.elapsed();
    assert!((Duration::from_millis(300)..Duration::from_secs(1)).contains(&after), "{after:?}");
    sleep(Duration::from_millis(500)).await;
    proxy.hold_answers(false);
    assert_eq!(next(&mut news).await, News::Missed);
}

#[tokio::test]
async fn a_process_that_begins_without_servers_is_deaf_after_a_while_and_not_before() {
    let mut server = Server::start();
    server.kill();
    let listener = listener(&server.settings());
    let mut news = listener.subscribe();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(news.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(next(&mut news).await, News::Deaf);
    server.start_again();
    assert_eq!(next(&mut news).await, News::Missed);
}

#[tokio::test]
async fn who_may_not_listen_is_deaf() {
    let acl = ["--user", "sidegate", "on", ">right", "~sidegate:*", "resetchannels", "+@all"];
    let server = Server::with(&acl);
    let password = Some(crate::model::Secret::new("right".to_owned()));
    let listener = listener(&RedisStore { username: Some("sidegate".to_owned()), password, ..server.settings() });
    let mut news = listener.subscribe();
    assert_eq!(next(&mut news).await, News::Deaf);
}
