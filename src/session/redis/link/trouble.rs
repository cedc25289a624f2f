//! What a server says when it does not do what it was asked, and what that means.

use redis::{ErrorKind, RedisError};

use crate::{
    config::RedisAddress,
    session::{StoreError, sealed},
};

/// Why a command came to nothing. The texts hold no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There is no connection, or no server, and none is near: the command was not done.
    Away(String),
    /// The connection broke: whether the command was done is not known.
    Broken(String),
    /// No answer in time: whether the command was or will be done is not known.
    Late(String),
    /// By a server that is the wrong one now, or not ready: the command was not done.
    Refused(String),
    /// Not at this moment: the command was not done.
    Later(String),
    /// The slot of the key is another server's, for good.
    Moved(u16, RedisAddress),
    /// The key is at another server already, its slot is not.
    Ask(RedisAddress),
    /// No server here has seen the script.
    NoScript,
    /// The record was written by a later sidegate, in this format.
    Newer(String),
    /// The record makes no sense.
    Damaged,
    /// Another attempt would end the same way.
    Final(String),
}

impl Trouble {
    /// What `error` means that came from `server`.
    pub fn of(error: &RedisError, server: &RedisAddress) -> Trouble {
        let text = format!("{}: {}", shown(server), explain(error));
        let Some(code) = error.code() else {
            return match error.kind() {
                ErrorKind::Io | ErrorKind::Parse => Trouble::Broken(text),
                _ => Trouble::Final(text),
            };
        };
        match code {
            "MOVED" | "ASK" => match (redirected(error, server), code) {
                (Some((slot, to)), "MOVED") => Trouble::Moved(slot, to),
                (Some((_, to)), _) => Trouble::Ask(to),
                (None, _) => Trouble::Final(text),
            },
            "READONLY" | "LOADING" | "MASTERDOWN" => Trouble::Refused(text),
            // The connection is as good as any, and another key may be better off.
            "CLUSTERDOWN" => Trouble::Away(text),
            "TRYAGAIN" => Trouble::Later(text),
            "NOSCRIPT" => Trouble::NoScript,
            // Said by our scripts.
            "FORMAT" => Trouble::Newer(error.detail().unwrap_or_default().to_owned()),
            "DAMAGED" => Trouble::Damaged,
            _ => Trouble::Final(text),
        }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> StoreError {
        StoreError::Unavailable(match trouble {
            Trouble::Away(text)
            | Trouble::Broken(text)
            | Trouble::Late(text)
            | Trouble::Refused(text)
            | Trouble::Later(text)
            | Trouble::Final(text) => text,
            Trouble::Moved(_, to) | Trouble::Ask(to) => {
                format!("the servers are a Cluster ({} has the key): name its nodes in `cluster`", shown(&to))
            }
            Trouble::Newer(format) => return sealed::later("record", format).into(),
            Trouble::Damaged => return sealed::damaged("record").into(),
            Trouble::NoScript => "the servers forget scripts as soon as they have run them".to_owned(),
        })
    }
}

/// What to do, where the server's own words do not tell.
pub(super) fn explain(error: &RedisError) -> String {
    let said = error.detail().unwrap_or_default();
    if error.kind() == ErrorKind::AuthenticationFailed {
        return "refuses the password, or knows no such user: compare `username` and `password_file` with its ACL"
            .to_owned();
    }
    let remedy = match error.code() {
        Some("NOAUTH") => "wants a password: set `password_file`",
        Some("WRONGPASS") => "refuses the password: compare `username` and `password_file` with its ACL",
        Some("NOPERM") => {
            return format!(
                "the user may not do this: {said}; its ACL must allow the keys and channels of the prefix, and what sidegate does with them"
            );
        }
        Some("WRONGTYPE") => {
            "a key holds something else: another program uses the same `prefix`, so set another one, or another `database`"
        }
        Some("OOM") => "is at its `maxmemory` and takes no more: give it more",
        Some("MISCONF") => "cannot persist, and so takes no changes: look at its log and its disk",
        Some("NOREPLICAS") => "has too few replicas (`min-replicas-to-write`), and so takes no changes",
        Some("READONLY") => "is a replica, and takes no changes",
        Some("LOADING") => "is loading its data",
        Some("MASTERDOWN") => "is a replica without a master",
        Some("CLUSTERDOWN") => return format!("the Cluster is down: {said}"),
        Some("BUSY") => "is busy with a script",
        Some(code) => return format!("{code} {said}"),
        None => return error.to_string(),
    };
    remedy.to_owned()
}

pub(super) fn shown(server: &RedisAddress) -> String {
    match server {
        RedisAddress::Tcp { host, port } if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
        RedisAddress::Tcp { host, port } => format!("{host}:{port}"),
        RedisAddress::Unix(path) => path.display().to_string(),
    }
}

/// The slot and the server in `MOVED 3999 10.0.0.7:6381`. No host: that of the server that said it.
fn redirected(error: &RedisError, server: &RedisAddress) -> Option<(u16, RedisAddress)> {
    let (to, slot) = error.redirect_node()?;
    let (host, port) = to.rsplit_once(':')?;
    let host = match (host, server) {
        ("", RedisAddress::Tcp { host, .. }) => host,
        _ => host,
    };
    (!host.is_empty()).then_some(())?;
    Some((slot, RedisAddress::Tcp { host: host.to_owned(), port: port.parse().ok()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(answer: &str) -> Trouble {
        let error = redis::parse_redis_value(answer.as_bytes()).unwrap().extract_error().unwrap_err();
        Trouble::of(&error, &at("10.0.0.1", 6379))
    }

    fn at(host: &str, port: u16) -> RedisAddress {
        RedisAddress::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn what_servers_say_is_sorted_by_what_is_to_be_done() {
        assert_eq!(trouble("-MOVED 3999 10.0.0.7:6381\r\n"), Trouble::Moved(3999, at("10.0.0.7", 6381)));
        assert_eq!(trouble("-MOVED 3999 :6381\r\n"), Trouble::Moved(3999, at("10.0.0.1", 6381)));
        assert_eq!(trouble("-ASK 3999 fd00::7:6381\r\n"), Trouble::Ask(at("fd00::7", 6381)));
        assert_eq!(trouble("-NOSCRIPT No matching script.\r\n"), Trouble::NoScript);
        assert!(matches!(trouble("-TRYAGAIN Multiple keys\r\n"), Trouble::Later(_)));
        assert!(matches!(trouble("-CLUSTERDOWN Hash slot not served\r\n"), Trouble::Away(_)));
        for refused in ["READONLY You", "LOADING Redis", "MASTERDOWN Link"] {
            assert!(matches!(trouble(&format!("-{refused}\r\n")), Trouble::Refused(_)), "{refused}");
        }
        for last in ["WRONGTYPE x", "OOM x", "NOPERM x", "NOAUTH x", "ERR x", "MOVED x", "MOVED 1 :x", "NOREPLICAS x"] {
            assert!(matches!(trouble(&format!("-{last}\r\n")), Trouble::Final(_)), "{last}");
        }
    }

    #[test]
    fn what_an_operator_can_mend_names_the_remedy() {
        let said = |answer: &str| StoreError::from(trouble(answer)).to_string();
        assert!(
            said("-OOM command not allowed\r\n")
                .ends_with("10.0.0.1:6379: is at its `maxmemory` and takes no more: give it more")
        );
        assert!(said("-NOAUTH Authentication required.\r\n").contains("set `password_file`"));
        assert!(said("-WRONGTYPE Operation\r\n").contains("another program uses the same `prefix`"));
        assert!(said("-NOPERM this user has no permissions\r\n").contains("no permissions; its ACL must allow"));
        assert!(said("-MOVED 3999 10.0.0.7:6381\r\n").contains("name its nodes in `cluster`"));
    }
}
