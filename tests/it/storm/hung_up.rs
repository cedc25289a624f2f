//! Clients that hang up while what they need is being renewed.

use futures_util::future::join_all;

use super::house::{House, Kept, LIFETIME, Line};
use crate::{
    pairs::spoken::Behind,
    support::{authority::Mood, must},
};

#[tokio::test]
async fn a_client_that_closes_its_connection_in_the_middle_of_a_renewal_leaves_its_session_alive() {
    hang_up(async |house| Line::one(&house.sidegate).await).await;
}

#[tokio::test]
async fn a_client_that_resets_its_stream_in_the_middle_of_a_renewal_leaves_its_session_alive() {
    hang_up(async |house| Line::two(&house.sidegate).await).await;
}

/// Sessions begun, renewed, and used again, each by three requests of which nobody stays to hear an answer.
async fn hang_up(line: impl AsyncFn(&House) -> Line) {
    let house = House::new(Behind::OAuth2, Kept::OnDisk).await;
    let clients = house.sign_in_all(8).await;
    house.advance(LIFETIME as i64);
    house.authority.is(Mood::Held);
    let mut waiting = Vec::new();
    for client in clients.iter().cycle().take(3 * clients.len()) {
        let (mut line, request) = (line(&house).await, client.request());
        waiting.push(tokio::spawn(async move { line.ask(request).await }));
    }
    must(async { while house.in_flight().await < 24 || house.authority.presented() < clients.len() {} }).await;
    for request in waiting {
        request.abort();
    }
    must(async { while house.in_flight().await > 0 {} }).await;
    assert_eq!(house.upstream.count(), 0);
    house.authority.is(Mood::Good);
    let replies = join_all(clients.iter().map(|client| house.get(client))).await;
    assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
    house.assert_nothing_wrong_was_shown();
    assert_eq!((house.authority.presented(), house.authority.redeemed()), (8, 8));
}
