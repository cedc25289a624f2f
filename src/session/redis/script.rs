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

/// Every step.
pub(super) struct Scripts {
    pub create: Script,
    pub rotate: Script,
    pub revoke: Script,
    pub acknowledge: Script,
    pub intend: Script,
    pub extend: Script,
    pub leave: Script,
    pub renew: Script,
    pub slide: Script,
    pub succeed: Script,
    pub purge: Script,
    pub put_code: Script,
    pub restore: Script,
    pub use_once: Script,
    pub save: Script,
}

impl Scripts {
    pub(super) fn new() -> Scripts {
        let on_session = |step: &str| Script::new(&[include_str!("lua/prelude.lua"), step]);
        Scripts {
            create: on_session(include_str!("lua/create.lua")),
            rotate: on_session(include_str!("lua/rotate.lua")),
            revoke: on_session(include_str!("lua/revoke.lua")),
            acknowledge: on_session(include_str!("lua/acknowledge.lua")),
            intend: on_session(include_str!("lua/intend.lua")),
            extend: on_session(include_str!("lua/extend.lua")),
            leave: on_session(include_str!("lua/leave.lua")),
            renew: on_session(include_str!("lua/renew.lua")),
            slide: on_session(include_str!("lua/slide.lua")),
            succeed: on_session(include_str!("lua/succeed.lua")),
            purge: on_session(include_str!("lua/purge.lua")),
            put_code: Script::new(&[include_str!("lua/code.lua")]),
            restore: on_session(include_str!("lua/restore.lua")),
            use_once: Script::new(&[include_str!("lua/once.lua")]),
            save: Script::new(&[include_str!("lua/save.lua")]),
        }
    }
}
