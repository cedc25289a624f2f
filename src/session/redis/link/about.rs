//! What a server says of itself that an operator should know.

/// Reads what `INFO` told, and logs what does not suit sessions.
pub(super) fn judge(server: &str, info: &str, cluster: bool) {
    if let Some(version) = unsuited(info, "redis_version", |version| major(version) >= 7) {
        tracing::error!(server, version, "the session store wants Redis 7.0 or Valkey 7.2 or later; this one is older");
    }
    if let Some(mode) = unsuited(info, "redis_mode", |mode| (mode == "cluster") == cluster) {
        let remedy = if cluster { "name it in `url` or `sentinel`" } else { "name its nodes in `cluster`" };
        tracing::error!(
            server,
            mode,
            remedy,
            "the server of the session store is not of the kind that the settings say"
        );
    }
    // What has an end of its own are codes, and what may be used once only.
    if let Some(policy) = unsuited(info, "maxmemory_policy", |policy| policy == "noeviction") {
        tracing::warn!(
            server,
            policy,
            "the server of the session store drops what it was told to keep when its memory is full; set `maxmemory-policy noeviction`"
        );
    }
}

/// The value of `field` if it is there and not as it should be.
fn unsuited<'a>(info: &'a str, field: &str, suits: impl Fn(&str) -> bool) -> Option<&'a str> {
    let value = info.lines().find_map(|line| line.trim().strip_prefix(field)?.strip_prefix(':'))?;
    (!suits(value)).then_some(value)
}

fn major(version: &str) -> u32 {
    version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_and_does_not_suit_is_told() {
        let info =
            "# Server\r\nredis_version:6.2.14\r\nredis_mode:standalone\r\n# Memory\r\nmaxmemory_policy:allkeys-lru\r\n";
        assert_eq!(unsuited(info, "redis_version", |version| major(version) >= 7), Some("6.2.14"));
        assert_eq!(unsuited(info, "redis_version", |version| major(version) >= 6), None);
        assert_eq!(unsuited(info, "maxmemory_policy", |policy| policy == "noeviction"), Some("allkeys-lru"));
        assert_eq!(unsuited(info, "redis", |_| false), None);
        assert_eq!(unsuited("", "redis_mode", |_| false), None);
        assert_eq!(major("odd"), 0);
    }
}
