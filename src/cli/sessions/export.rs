//! `sidegate sessions export`.

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
    session::moving::{Export, Exported, export as write},
};

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    config: ConfigFile,
    /// The file to make. It grows as FILE.part.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Export from a store that is in use: what changes after it was read is not in the file, and is lost if the store is
    /// then given up. For copies, not for moves.
    #[arg(long)]
    while_serving: bool,
    /// Print the summary as JSON, for machines.
    #[arg(long)]
    json: bool,
}

pub fn export(options: &Options) -> ExitCode {
    let opened = match open(&options.config.config, Purpose::Export, |_| Ok(())) {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    let asked = Export {
        store: opened.store.as_ref(),
        ring: &opened.ring,
        from: opened.named.clone(),
        to: &options.to,
        while_serving: options.while_serving,
    };
    let mut teller = Teller::new();
    let exported = opened.runtime.block_on(write(&asked, &mut |progress| teller.tell(progress)));
    teller.clear();
    let exported = match exported {
        Ok(exported) => exported,
        Err(error) => return output::finish(Err(said(&options.to, &error))),
    };
    for (id, why) in &exported.unreadable {
        eprintln!("sidegate: session {id} cannot be read and is not in the file: {why}");
    }
    let told = output::finish(output::print(&summary(options, &exported)).map_err(Into::into));
    if exported.unreadable.is_empty() { told } else { ExitCode::from(INCOMPLETE) }
}

fn summary(options: &Options, exported: &Exported) -> String {
    let Exported { counts, resumed, anew, unreadable } = exported;
    let file = options.to.display();
    if options.json {
        let unreadable: Vec<String> = unreadable.iter().map(|(id, _)| id.to_string()).collect();
        let summary = json!({
            "file": file.to_string(), "sessions": counts.sessions, "revoked": counts.revoked,
            "documents": counts.documents, "resumed": resumed, "unreadable": unreadable,
        });
        return format!("{summary}\n");
    }
    let mut text = String::new();
    if *anew {
        text += "a sidegate has served since the interrupted export, so this one began anew\n";
    }
    if *resumed > 0 {
        text += &format!("{resumed} session(s) were there from the interrupted export\n");
    }
    text += &format!(
        "{file}: {} session(s), of which {} revoked; {} document(s)",
        counts.sessions, counts.revoked, counts.documents
    );
    match unreadable.len() {
        0 => text += "\n",
        missing => text += &format!("; {missing} session(s) that cannot be read are missing\n"),
    }
    text
}
