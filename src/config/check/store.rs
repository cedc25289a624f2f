//! Where sessions are kept, and the master keys.

use std::path::Path;

use super::{files, section::Section};
use crate::{
    config::{MasterKeys, MasterRing, Store, settings::Settings},
    model::Secret,
};

pub(super) fn store(settings: &Settings, section: &Section<'_>) -> Option<Store> {
    match (&settings.store.memory, &settings.store.redb) {
        (Some(_), Some(_)) => {
            section.problem("memory and redb at once", "leave one out");
            None
        }
        (Some(_), None) => Some(Store::Memory),
        (None, redb) => {
            let path = redb.as_ref().and_then(|redb| redb.path.as_deref());
            Some(Store::Redb { path: section.resolve(path.unwrap_or(Path::new("/var/lib/sidegate/sessions.redb"))) })
        }
    }
}

pub(super) fn keys(settings: &Settings, store: Option<&Store>, section: &Section<'_>) -> Option<MasterKeys> {
    let generate = settings.keys.generate.unwrap_or(false);
    match &settings.keys.master_file {
        None if settings.authority.is_none() || store == Some(&Store::Memory) => Some(MasterKeys::Ephemeral),
        None => {
            section.key("master_file").problem(
                "missing: sessions on disk are sealed under it",
                "sidegate keys master > FILE makes one; generate: true makes it at the first start",
            );
            None
        }
        Some(file) if generate && !section.resolve(file).exists() => Some(MasterKeys::Generate(section.resolve(file))),
        Some(file) => ring(&files::secret_lines(file, &section.key("master_file"))?, &section.key("master_file")),
    }
}

/// One key a line: its id, a colon, and 32 bytes in base64url. The first line is current.
fn ring(text: &Secret<String>, section: &Section<'_>) -> Option<MasterKeys> {
    match MasterRing::parse(text.expose()) {
        Some(ring) => Some(MasterKeys::Given(ring)),
        None => {
            section.problem("not a ring of master keys", "sidegate keys master makes one");
            None
        }
    }
}
