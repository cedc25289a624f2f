//! `sidegate sessions import`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::json;

use super::{
    INCOMPLETE,
    progress::{Teller, said},
    store::{Purpose, open},
};
use crate::{
    cli::{ConfigFile, output},
    session::{
        moving::{Import, Imported, Keys, header, import as bring},
        ring::KeyRing,
    },
};

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    config: ConfigFile,
    /// The file that `sidegate sessions export` made.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Say what would become of each session, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the summary as JSON, for machines.
    #[arg(long)]
    json: bool,
}

pub fn import(options: &Options) -> ExitCode {
    let purpose = if options.dry_run { Purpose::DryRun } else { Purpose::Import };
    let fits = |ring: &KeyRing| header(&options.from, ring).map(drop).map_err(|error| said(&options.from, &error));
    let opened = match open(&options.config.config, purpose, fits) {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    let (store, ring) = (opened.store.as_ref(), &*opened.ring);
    let asked = Import { store, ring, from: &options.from, dry_run: options.dry_run };
    let mut teller = Teller::new();
    let imported = opened.runtime.block_on(bring(&asked, &mut |progress| teller.tell(progress)));
    teller.clear();
    let imported = match imported {
        Ok(imported) => imported,
        Err(error) => return output::finish(Err(said(&options.from, &error))),
    };
    for id in imported.conflicts.iter().take(MOST_NAMED) {
        eprintln!(
            "sidegate: session {id} is not imported: its id is another session's here, or that one cannot be read"
        );
    }
    if let Some(more) = imported.conflicts.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
        eprintln!("sidegate: and {more} more");
    }
    for (id, why) in &imported.unreadable {
        eprintln!("sidegate: session {id} could not be read when the file was made: {why}");
    }
    if opened.signs_from_folder && imported.counts.documents > 0 {
        eprintln!(
            "sidegate: the file brings signing keys of the old store, and authority.signing.folder has others: tokens that \
             the old ones signed are refused"
        );
    }
    let told = output::finish(output::print(&summary(options, &opened.named, &imported)).map_err(Into::into));
    if imported.conflicts.is_empty() { told } else { ExitCode::from(INCOMPLETE) }
}

fn summary(options: &Options, store: &str, imported: &Imported) -> String {
    let Imported { counts, kept, revoked, there, over, conflicts, unreadable, keys, .. } = imported;
    let (word, added) = match keys {
        Keys::None => ("none", 0),
        Keys::Kept => ("kept", 0),
        Keys::There => ("there", 0),
        Keys::Added(count) => ("added", *count),
    };
    if options.json {
        let conflicts: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
        let unreadable: Vec<String> = unreadable.iter().map(|(id, _)| id.to_string()).collect();
        let summary = json!({
            "file": options.from.display().to_string(), "from": imported.header.from, "dry_run": options.dry_run,
            "sessions": counts.sessions, "kept": kept, "kept_revoked": revoked, "there": there, "over": over,
            "conflicts": conflicts, "unreadable": unreadable, "signing_keys": word, "signing_keys_added": added,
        });
        return format!("{summary}\n");
    }
    let (would, will) = if options.dry_run { ("would be ", "would sign") } else { ("", "sign") };
    let keys = match keys {
        Keys::None => "the file has none".to_owned(),
        Keys::Kept => format!("those of the file {will}"),
        Keys::There => "were there already".to_owned(),
        Keys::Added(count) => format!("{count} of the file {would}added, to verify; this store's own {will}"),
    };
    format!(
        "{store}, from {}: {} session(s): {kept} {would}kept, of which {revoked} revoked; {there} there already; {over} \
         over; {} conflict(s)\nsigning keys: {keys}\n",
        imported.header.from,
        counts.sessions,
        conflicts.len(),
    )
}

/// Lines about one kind of trouble.
const MOST_NAMED: usize = 100;
