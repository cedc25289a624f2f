//! More questions than the authority should be asked at once.

use futures_util::future::join_all;

use super::house::House;
use crate::oauth::house::text;

const REMOTE: &str = ", max_concurrent: 2";
const STORE: &str = "store: { memory: {} }\n";

#[tokio::test]
async fn a_flood_of_new_sessions_is_none_at_the_authority_and_keeps_nobody_else_waiting() {
    let house = House::with(REMOTE, STORE).await;
    let (served, renewed) = (house.access().await, house.signed_in().await);
    house.outside.hold(true);
    let (flood, others) =
        tokio::join!(join_all((0..40).map(|_| house.token("grant_type=client_credentials"))), async {
            house.until(async || house.outside.asked().len() >= 4).await;
            // Two have a place, eight wait for one.
            house.until(async || house.sidegate.metric(REFUSED).await >= 30).await;
            assert_eq!(house.get(&served).await.status, 200, "what is valid is served");
            let refresh = text(&renewed, "refresh_token");
            let renewal = house.refreshed(&refresh);
            let release = async {
                house.until(async || house.outside.refreshes() == 1).await;
                let begun = house.outside.asked().len() - house.outside.refreshes();
                house.outside.hold(false);
                begun
            };
            let (renewal, begun) = tokio::join!(renewal, release);
            assert_eq!(renewal.status, 200, "{}", renewal.text());
            begun
        });
    assert_eq!(others, 4, "two before, and two at once");
    let refused: Vec<_> = flood.iter().filter(|reply| reply.status != 200).collect();
    assert!(refused.len() >= 30 && flood.len() > refused.len(), "{}", refused.len());
    for reply in refused {
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, Some("2")), "{}", reply.text());
        assert_eq!(text(reply, "error"), "temporarily_unavailable");
    }
    assert_eq!(house.sidegate.ready().await.1["degraded"], serde_json::json!([]), "it is well, and only busy");
}

const REFUSED: &str = "sidegate_rate_limited_total{scope=\"authority\"}";
