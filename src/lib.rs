//! sidegate: a reverse-proxy auth sidecar.
//!
//! # The way of a request
//!
//! ```text
//! client ──► server        accept, permit, worker, PROXY header, TLS, HTTP/1.1 or HTTP/2, limits of time and size
//!              │
//!              ▼
//!            gate          the clock is read once; every error becomes one answer; one log line, one histogram
//!              ├──► endpoints   a path of ours: see below
//!              ▼
//!            proxy         one Host, one canonical path ─► route ─► admit ─► strip and set headers
//!              │                                                    │
//!              │                                                    ▼
//!              │                                    auth   token digest ─► cache ─► verdict ─► policy
//!              │                                            │ (unknown: keys of the issuer, or a question to it)
//!              ▼                                            ▼
//!            proxy::upstream   pooled connections, streamed both ways        jose, fetch
//!              │
//!              ▼
//!           upstream
//! ```
//!
//! At a path of its own the gate turns the other way:
//!
//! ```text
//!            gate ─► endpoints    path ─► mount ─► dialect::read_request … dialect::write_reply
//!                        │
//!                        ▼
//!                     grants      who the client is, what it may have ─► tokens; sign-in and consent before a code
//!                        │  │
//!                        │  └──► authority   clients and users: files, a call-out, a directory; throttled, hashed in a pool
//!                        ▼
//!                     session     one record, one atomic step ─► memory, redb or redis; what a hit's liveness hangs on
//! ```
//!
//! Where an authority outside vouches, grants ask it through `authority::remote` in its own dialect, and what it gives is
//! kept with the session. A request whose session holds a token that is about to end, and a client that refreshes, come to
//! the one way of renewing it:
//!
//! ```text
//!         auth, grants ─► refresh    one detached flight for each session, whoever wants it
//!                            ├──► session             lease and intent, durable before the question
//!                            ├──► authority::remote   asked, unless its breaker is open: dialect::write_request … read_reply
//!                            ▼
//!                         session    kept under that lease, and then everybody is shown the new token
//! ```
//!
//! A token of sidegate's own for an upstream has a keeper in `refresh::service`, which asks another `authority::remote` ahead
//! of time. An upstream that refuses what it was shown brings the request to `proxy::replay`: one renewal, one repetition.
//!
//! Where replicas share their sessions, a step is a script in Redis, and what it changes is told to the others, whose cached
//! verdicts hang on the same session; what an authority gave is in a journal on a local disk before the store is told:
//!
//! ```text
//!            session::redis     one script for each step ─► a server, the master of sentinels, a Cluster   (redis::link)
//!                 ▲                       │ publishes
//!                 │                       ▼
//!         session::journal      redis::news ─► session::following ─► session::watched ─► verdicts, streams, signing keys
//! ```
//!
//! What a reload replaces is one [`gate::Gate`]; what it keeps is said in [`app`].
//!
//! # Floors
//!
//! A file uses `crate::…` only from a lower floor or from inside its own room; a test reads this table and holds the
//! `use` lines against it.
//!
//! ```text floors
//! 11 main cli
//! 10 app
//!  9 server explain
//!  8 gate
//!  7 proxy endpoints
//!  6 auth grants
//!  5 refresh
//!  4 session authority
//!  3 jwks otlp
//!  2 dialect jose fetch rate telemetry
//!  1 config body certificate spans
//!  0 model json backoff crash
//! ```
#![forbid(unsafe_code)]

pub mod app;
pub mod auth;
pub mod authority;
pub mod backoff;
pub mod body;
pub mod certificate;
pub mod cli;
pub mod config;
pub mod crash;
pub mod dialect;
pub mod endpoints;
pub mod explain;
pub mod fetch;
pub mod gate;
pub mod grants;
pub mod jose;
pub mod json;
pub mod jwks;
pub mod model;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod proxy;
pub mod rate;
pub mod refresh;
pub mod server;
pub mod session;
pub mod spans;
pub mod telemetry;
