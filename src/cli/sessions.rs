//! `sidegate sessions`: who is signed in, asked of the admin listener of a running sidegate; and the way of sessions from one
//! store to another, past it.

mod export;
mod import;
mod progress;
mod store;
mod table;

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Subcommand};
use form_urlencoded::Serializer;

use super::{
    WRONG_SETTINGS,
    client::{Client, Endpoint, Refused},
    output,
};
use crate::model::BoxError;

#[derive(Args)]
pub struct Sessions {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Sessions, oldest ids first: a table on a terminal, otherwise tab-separated without a heading.
    #[command(after_help = "Examples:\n  sidegate sessions list --user ana --token-file admin.token\n  \
        sidegate sessions list --client shop --token-file admin.token | cut -f1\n\n\
        Columns: id, user, client, grant, state, created, refreshed, ends. Times are UTC.\n\
        With --json: one object a line.")]
    List(List),
    /// One session.
    #[command(
        after_help = "Example:\n  sidegate sessions show --id 3q2-7wAAAAAAAAAAAAAAAA --token-file admin.token\n\n\
        Exit codes: 0 found, 1 no answer or refused, 2 there is no such session."
    )]
    Show(Show),
    /// End one session, or all of a user, of a client, or of a user at a client: their tokens are refused from now on.
    #[command(
        after_help = "Examples:\n  sidegate sessions revoke --id 3q2-7wAAAAAAAAAAAAAAAA --token-file admin.token\n  \
        sidegate sessions revoke --user ana --token-file admin.token\n\n\
        Exit codes: 0 ended (or had ended), 1 no answer or refused, 2 there is no such session."
    )]
    Revoke(Revoke),
    /// Write every session of the configured store into a file, sealed: to move to another store.
    #[command(after_help = "Examples:\n  sidegate sessions export -c redb.yaml --to sessions.moved\n  \
        sidegate sessions export -c replicas.yaml --to sessions.moved --while-serving --json\n\n\
        Stop every sidegate that uses the store before (redb is locked by a running one). An export that was interrupted \n\
        goes on where it stood when it is asked for again. Codes and used assertions, which live for minutes, stay behind.\n\n\
        Exit codes: 0 done, 1 failed (ask again), 3 done, but records that cannot be read are missing, 64 wrong settings.")]
    Export(export::Options),
    /// Bring the sessions of such a file into the configured store; what is there already in a newer state stays as it is.
    #[command(after_help = "Examples:\n  sidegate sessions import -c redis.yaml --from sessions.moved --dry-run\n  \
        sidegate sessions import -c redis.yaml --from sessions.moved\n\n\
        The ring in keys.master_file must hold every master key of the old configuration. Nothing of a file that is not \n\
        whole is used. An import that was interrupted is asked for again: nothing comes twice.\n\n\
        Exit codes: 0 done, 1 failed (ask again), 3 done, but ids were other sessions' there, 64 wrong settings.")]
    Import(import::Options),
}

#[derive(Args)]
struct Common {
    /// The admin listener of the running process: HOST:PORT, or unix:/path.
    #[arg(long, default_value = "127.0.0.1:9902", value_name = "ADDRESS")]
    admin: Endpoint,
    /// The file that `admin.token_file` of the configuration names, or `-` for standard input.
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Print JSON, for machines.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    common: Common,
    /// Only those of this user: `sub`, or the name that was typed.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only those of this client.
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// Also those that have ended, as long as they are remembered.
    #[arg(long)]
    all: bool,
}

#[derive(Args)]
struct Show {
    #[command(flatten)]
    common: Common,
    // An id may begin with a hyphen.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    id: String,
}

#[derive(Args)]
#[group(id = "whose", required = true, multiple = true)]
struct Whose {
    /// This session.
    #[arg(long, value_name = "ID", allow_hyphen_values = true, conflicts_with_all = ["user", "client"])]
    id: Option<String>,
    /// Every session of this user.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Every session of this client.
    #[arg(long, value_name = "ID")]
    client: Option<String>,
}

#[derive(Args)]
struct Revoke {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    whose: Whose,
}

pub fn sessions(asked: &Sessions) -> ExitCode {
    let common = match &asked.what {
        What::List(list) => &list.common,
        What::Show(show) => &show.common,
        What::Revoke(revoke) => &revoke.common,
        What::Export(options) => return export::export(options),
        What::Import(options) => return import::import(options),
    };
    let client = match Client::new(&common.admin, Some(&common.token_file)) {
        Ok(client) => client,
        Err(error) => {
            eprintln!("sidegate: {error}");
            return ExitCode::from(WRONG_SETTINGS);
        }
    };
    let done = match &asked.what {
        What::List(list) => print_all(&client, list),
        What::Show(show) => print_one(&client, show),
        What::Revoke(revoke) => end(&client, revoke),
        // Asked of no running process, and answered above.
        What::Export(_) | What::Import(_) => Ok(()),
    };
    match done {
        Err(error) if error.downcast_ref::<Refused>().is_some_and(Refused::is_unknown) => {
            eprintln!("sidegate: {error}");
            ExitCode::from(UNKNOWN)
        }
        done => output::finish(done),
    }
}

fn print_all(client: &Client, list: &List) -> Result<(), BoxError> {
    let terminal = io::stdout().is_terminal();
    let mut after: Option<String> = None;
    loop {
        let mut query = filter(list.user.as_deref(), list.client.as_deref());
        query.append_pair("limit", PAGE).append_pair("alive", if list.all { "any" } else { "true" });
        if let Some(after) = &after {
            query.append_pair("after", after);
        }
        let page = client.ask("GET", &format!("/sessions?{}", query.finish()))?;
        let sessions = page["sessions"].as_array().cloned().unwrap_or_default();
        output::print(&match (list.common.json, terminal) {
            (true, _) => sessions.iter().map(|session| format!("{session}\n")).collect(),
            (false, true) => table::aligned(&sessions, after.is_none()),
            (false, false) => table::separated(&sessions),
        })?;
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(()),
        }
    }
}

fn print_one(client: &Client, show: &Show) -> Result<(), BoxError> {
    let session = client.ask("GET", &path_of(&show.id))?;
    output::print(&if show.common.json { format!("{session:#}\n") } else { table::listed(&session) })?;
    Ok(())
}

fn end(client: &Client, revoke: &Revoke) -> Result<(), BoxError> {
    let Whose { id, user, client: of } = &revoke.whose;
    let ended = match id {
        Some(id) => client.ask("DELETE", &path_of(id))?,
        None => client.ask("DELETE", &format!("/sessions?{}", filter(user.as_deref(), of.as_deref()).finish()))?,
    };
    output::print(&match (revoke.common.json, ended["revoked"].as_u64()) {
        (true, _) | (false, None) => format!("{ended}\n"),
        (false, Some(count)) => format!("{count} session(s) ended\n"),
    })?;
    Ok(())
}

fn filter(user: Option<&str>, client: Option<&str>) -> Serializer<'static, String> {
    let mut query = Serializer::new(String::new());
    for (name, value) in [("user", user), ("client", client)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query
}

/// Whatever was typed stays one segment: what no id has becomes what no session has.
fn path_of(id: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    format!("/sessions/{}", id.chars().map(plain).collect::<String>())
}

const PAGE: &str = "500";

/// The exit code for a session that is not there.
const UNKNOWN: u8 = 2;
/// The exit code for a move that left something behind.
const INCOMPLETE: u8 = 3;
