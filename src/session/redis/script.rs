//! The steps as scripts: each is atomic, and takes the servers' time.

/// A script, known to the servers by its digest once they have seen it.
pub(super) struct Script {
    code: String,
    hash: String,
}

impl Script {
    /// Of parts that follow one another.
    pub(super) fn new(parts: &[&str]) -> Script {
        let code = parts.concat();
        let hash = redis::Script::new(&code).get_hash().to_owned();
        Script { code, hash }
    }

    pub(super) fn code(&self) -> &str {
        &self.code
    }

    /// SHA-1, in hexadecimal digits: what `EVALSHA` takes.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }
}
