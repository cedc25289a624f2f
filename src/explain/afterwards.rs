//! What holds for a request once it is on its way.

use humantime::format_duration as time;

use super::Detail;
use crate::config::{OnExpiry, Route};

pub(super) fn tell(route: &Route) -> Vec<Detail> {
    let limits = &route.timeouts;
    let mut told = vec![format!(
        "connected within {}, the head of the answer within {}, then no pause longer than {}",
        time(limits.connect),
        time(limits.first_byte),
        time(limits.idle)
    )];
    if route.policy.is_some() {
        if !route.min_life.is_zero() {
            told.push(format!(
                "what it is shown must be good for {} more when the request begins",
                time(route.min_life)
            ));
        }
        told.push(match route.replay {
            Some(bytes) => format!(
                "should it answer 401: what it is shown is renewed and the request sent once more, with a body of at most {bytes} \
                 bytes"
            ),
            None => "should it answer 401: the client gets that".to_owned(),
        });
        told.push(
            match route.on_expiry {
                OnExpiry::Keep => "a stream goes on whatever becomes of the token (`on_expiry: keep`)",
                OnExpiry::CloseAtExpiry => "a stream is closed when the token expires (`on_expiry: close_at_expiry`)",
                OnExpiry::CloseWhenSessionEnds => {
                    "a stream is closed when the session or the key of the token is gone (`on_expiry: \
                     close_when_session_ends`)"
                }
            }
            .to_owned(),
        );
    }
    told.into_iter().map(Detail::plain).collect()
}
