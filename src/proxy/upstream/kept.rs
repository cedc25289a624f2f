//! A request that may be sent once more, since the upstream has answered it with 401.

use bytes::Bytes;
use http::{HeaderMap, Request};
use hyper::upgrade::OnUpgrade;
use tokio::{
    sync::oneshot,
    time::{Duration, timeout},
};

use super::{request_body::RequestBody, retry::Spare};

/// What a body leaves behind on its way: a copy of its bytes, up to a bound.
///
/// Copied, since the pieces that hyper hands out share buffers of many KiB: a client that sends a byte at a time would have
/// us hold a thousand times what it sent.
pub(super) struct Keeping {
    data: Vec<u8>,
    most: usize,
    announced: bool,
    whole: oneshot::Sender<Kept>,
}

/// A body that was kept whole.
pub(super) struct Kept {
    pub(super) data: Bytes,
    pub(super) trailers: Option<HeaderMap>,
    /// Its length was known before it came, and so goes before it again.
    pub(super) announced: bool,
}

impl Keeping {
    /// For a body of `most` bytes at the most, and where it will be once it has come.
    pub(super) fn new(most: usize, announced: bool) -> (Keeping, oneshot::Receiver<Kept>) {
        let (whole, kept) = oneshot::channel();
        (Keeping { data: Vec::new(), most, announced, whole }, kept)
    }

    /// Whether `data` could be kept as well; if not, nothing of the body is of use any more.
    pub(super) fn add(&mut self, data: &[u8]) -> bool {
        let needed = self.data.len() + data.len();
        if needed > self.most || self.whole.is_closed() {
            return false;
        }
        if needed > self.data.capacity() {
            // Twice as much as before, but never more than may be kept.
            let capacity = needed.max(self.data.capacity() * 2).min(self.most);
            self.data.reserve_exact(capacity - self.data.len());
        }
        self.data.extend_from_slice(data);
        true
    }

    /// The body has ended. Trailers count like its bytes.
    pub(super) fn end(self, trailers: Option<HeaderMap>) {
        let length = |trailers: &HeaderMap| -> usize {
            trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
        };
        if self.data.len() + trailers.as_ref().map_or(0, length) > self.most {
            return;
        }
        // Whoever would have sent it once more may be gone.
        let _ = self.whole.send(Kept { data: self.data.into(), trailers, announced: self.announced });
    }
}

/// A request that the upstream has answered with 401, to be sent once more.
pub struct Again {
    spare: Spare,
    /// Its body, where that came from the client.
    kept: Option<oneshot::Receiver<Kept>>,
    /// The client's side of a connection that was to leave HTTP.
    client: Option<OnUpgrade>,
}

impl Again {
    pub(super) fn new(
        spare: Spare,
        kept: Option<oneshot::Receiver<Kept>>,
        client: Option<OnUpgrade>,
    ) -> Option<Box<Self>> {
        (kept.is_some() || spare.is_whole()).then(|| Box::new(Again { spare, kept, client }))
    }

    /// The request as it was sent. What the client has still to send of its body is waited for, a second at the most;
    /// `None`: the body was too long to be kept, or did not come to its end.
    pub async fn into_request(mut self: Box<Self>) -> Option<Request<RequestBody>> {
        if let Some(kept) = self.kept.take() {
            self.spare.complete(timeout(REST, kept).await.ok()?.ok()?);
        }
        let mut request = self.spare.into_request()?;
        if let Some(client) = self.client {
            request.extensions_mut().insert(client);
        }
        Some(request)
    }
}

/// An upstream may say 401 to the head of a request whose body is on its way.
const REST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_memory_is_held_than_may_be_kept() {
        let (mut keeping, _kept) = Keeping::new(1000, false);
        for _ in 0..1000 {
            assert!(keeping.add(b"x"));
            assert!(keeping.data.capacity() <= 1000);
        }
        assert!(!keeping.add(b"x"));
    }

    #[test]
    fn what_nobody_waits_for_is_not_kept() {
        let (mut keeping, kept) = Keeping::new(1000, false);
        assert!(keeping.add(b"x"));
        drop(kept);
        assert!(!keeping.add(b"x"));
    }

    #[test]
    fn trailers_count_like_the_body() {
        for (value, fits) in [("12345", true), ("123456", false)] {
            let (mut keeping, mut kept) = Keeping::new(10, false);
            assert!(keeping.add(b"abc"));
            let trailers = [(http::HeaderName::from_static("ab"), value.parse().unwrap())].into_iter().collect();
            keeping.end(Some(trailers));
            assert_eq!(kept.try_recv().is_ok(), fits);
        }
    }
}
