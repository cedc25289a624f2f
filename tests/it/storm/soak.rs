//! A month of one client before an authority outside.

use super::house::{House, Kept, Setup};
use crate::{
    oauth::house::text,
    pairs::spoken::Behind,
    support::{look::assert_invalid_token, must},
};

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;
/// Seconds that the authority's tokens live: none of the client's own does for so short.
const LIFETIME: u64 = 40 * 60;

const SLID: &str = "sidegate_renewals_total{kind=\"access_token\",reason=\"slid\",result=\"renewed\"}";

async fn house(client: &str) -> House {
    let house = House::with(Setup { client, ..Setup::of(Behind::OAuth2, Kept::InMemory) }).await;
    house.authority.script(|script| script.lifetime = LIFETIME);
    house
}

#[tokio::test]
async fn a_client_that_never_refreshes_is_served_for_thirty_days_and_then_no_more() {
    let slides = "access_token: { renewal: sliding, lifetime: 1h }, refresh_token: { absolute: 30d, idle: 1d }";
    let house = house(slides).await;
    let client = house.sign_in().await;
    let (mut passed, mut slid, mut slid_at) = (0, 0, 0);
    // Each at another time than the one before, from once a minute to once in half an hour.
    for number in 0.. {
        let step = MINUTE * (1 + number * 7 % 30);
        if passed + step >= 30 * DAY {
            break;
        }
        house.advance(step);
        passed += step;
        let reply = house.get(&client).await;
        assert_eq!(reply.status, 200, "after {passed} s: {}", reply.text());
        // From the middle of its life on, beside the request; the next one may come half an hour later.
        if passed - slid_at >= 30 * MINUTE {
            (slid, slid_at) = (slid + 1, passed);
            must(async { while house.sidegate.metric(SLID).await < slid {} }).await;
        }
    }
    house.assert_nothing_wrong_was_shown();
    let redeemed = house.authority.redeemed();
    assert_eq!(redeemed, house.authority.presented());
    assert!(redeemed as i64 >= 30 * DAY / LIFETIME as i64 / 2, "{redeemed}");
    house.advance(30 * DAY - passed);
    for _ in 0..3 {
        assert_invalid_token(&house.get(&client).await);
    }
    assert_eq!(house.authority.redeemed(), redeemed, "nobody asks for a session that is over");
}

#[tokio::test]
async fn a_client_whose_tokens_are_not_renewed_for_it_refreshes_and_all_behind_it_is_renewed() {
    let house = house("access_token: { lifetime: 1h }, refresh_token: { absolute: 2d, idle: 1d }").await;
    let mut client = house.sign_in().await;
    for hour in 1..48 {
        for _ in 0..3 {
            assert_eq!(house.get(&client).await.status, 200);
            house.advance(20 * MINUTE);
        }
        assert_invalid_token(&house.get(&client).await);
        let reply = house.refresh(&client).await;
        assert_eq!(reply.status, 200, "hour {hour}: {}", reply.text());
        (client.token, client.refresh) = (text(&reply, "access_token"), text(&reply, "refresh_token"));
    }
    house.assert_nothing_wrong_was_shown();
    assert_eq!(house.authority.redeemed(), house.authority.presented());
}
