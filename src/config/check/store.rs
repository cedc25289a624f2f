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
            let path = section.resolve(path.unwrap_or(Path::new("/var/lib/sidegate/sessions.redb")));
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if settings.authority.is_some() && folder.is_some_and(|folder| !folder.is_dir()) {
                let place = section.key("redb").key("path");
                place.warn(
                    format!("there is no folder for {}", place.shown(path.display())),
                    "make it, and let the user that sidegate runs as write in it",
                );
            }
            Some(Store::Redb { path })
        }
    }
}

pub(super) fn keys(settings: &Settings, store: Option<&Store>, section: &Section<'_>) -> Option<MasterKeys> {
    let generate = settings.keys.generate.unwrap_or(false);
    if generate && settings.authority.is_some() {
        section.key("generate").warn(
            "a key beside the data protects little: whoever copies the disk has both",
            "sidegate keys master makes a ring that you can mount from elsewhere",
        );
    }
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
