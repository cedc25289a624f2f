//! 200 sessions with 1,000 requests at once over three replicas, when all of the authority's tokens have just ended. Its
//! refresh tokens are good for one use, so a second redemption, by whichever replica, would lose the session.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use sidegate::model::Time;

use super::house::{Plan, Replicas};
use crate::{
    oauth::house::{SECRET, text, token},
    pairs::spoken::{Accounts, Behind},
    storm::house::{Client, LIFETIME, Line, judging},
    support::{
        Redis,
        authority::{Authority, Mood, PASSWORD, USERNAME},
        issuer::scratch,
    },
};

const SESSIONS: usize = 200;
const EACH: usize = 5;

pub struct House {
    pub authority: Arc<Authority>,
    pub replicas: Replicas,
    objections: Arc<Mutex<Vec<String>>>,
}

impl House {
    pub async fn new(store: &str) -> House {
        let time = Time::default();
        // One clock: what moves is the same for all.
        let authority = Arc::new(Authority::at(Behind::OAuth2.speech().unwrap(), time.clone()).await);
        authority.script(|script| script.lifetime = LIFETIME);
        let (upstream, objections) = judging(&authority).await;
        let remote = Behind::OAuth2.yaml(&authority, Accounts::Presented, &scratch("crossing"));
        let plan = Plan {
            authority: &format!("  sessions_per_user: 5000\n{remote}"),
            credential: "authority_token: {}",
            store,
            more: "refresh: { wait: 20s }\n",
            ..Plan::default()
        };
        let replicas = Replicas::before(upstream, Redis::start().await, time, plan).await;
        House { authority, replicas, objections }
    }

    pub async fn sign_in(&self, number: usize) -> Client {
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let (username, password) = (encoded(USERNAME), encoded(PASSWORD));
        let body =
            format!("grant_type=password&username={username}&password={password}&client_id=app&client_secret={SECRET}");
        let reply = token(self.replicas.at(number), &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let (token, refresh) = (text(&reply, "access_token"), text(&reply, "refresh_token"));
        Client { root: self.authority.issued().len(), token, refresh }
    }

    #[track_caller]
    pub fn assert_nothing_wrong_was_shown(&self) {
        let objections = self.objections.lock().unwrap();
        assert!(objections.is_empty(), "{} wrong: {:?}", objections.len(), objections.first());
    }
}

/// The requests of one session come to all replicas.
async fn cross(mood: Mood) {
    let house = House::new("").await;
    let mut clients = Vec::new();
    for number in 0..SESSIONS {
        clients.push(house.sign_in(number).await);
    }
    house.authority.is(mood);
    for crossing in 1..=2 {
        house.replicas.time.advance(LIFETIME as i64);
        let begun = house.replicas.upstream.count();
        let mut lines = Vec::new();
        for (number, client) in clients.iter().enumerate() {
            for each in 0..EACH {
                lines.push((Line::one(house.replicas.at(number + each)).await, client));
            }
        }
        let asked = lines.into_iter().map(|(mut line, client)| async move { line.ask(client.request()).await });
        let replies = join_all(asked).await;
        let refused: Vec<_> = replies.iter().filter(|reply| reply.status != 200).collect();
        assert_eq!(replies.len(), SESSIONS * EACH);
        assert!(refused.is_empty(), "{} refused: {}", refused.len(), refused[0].text());
        let redeemed = (house.authority.presented(), house.authority.redeemed());
        assert_eq!(redeemed, (crossing * SESSIONS, crossing * SESSIONS));
        assert_eq!(house.replicas.upstream.count() - begun, SESSIONS * EACH);
        house.assert_nothing_wrong_was_shown();
    }
}

#[tokio::test]
async fn three_replicas_redeem_once_for_each_session_and_nobody_is_refused() {
    cross(Mood::Good).await;
}

#[tokio::test]
async fn they_do_too_where_the_authority_takes_its_time() {
    cross(Mood::Slow(Duration::from_millis(200))).await;
}
