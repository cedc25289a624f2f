//! The command line: what a person types, and what they read back.
#![allow(clippy::print_stdout, reason = "commands answer on standard output")]

mod check;
mod client;
mod explain;
mod hash;
mod health;
mod keys;
mod manual;
mod output;
mod panics;
mod quickstart;
mod report;
mod run;
mod sessions;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::model::build;

/// Wrong settings or a wrong command line (EX_USAGE of sysexits.h).
const WRONG_SETTINGS: u8 = 64;

#[derive(Parser)]
#[command(
    name = "sidegate",
    version = build::SHOWN,
    about = "A reverse-proxy auth sidecar: validates bearer tokens in front of an API that you cannot change.",
    after_help = "Examples:\n  \
        sidegate quickstart                        see it work, without any configuration\n  \
        sidegate check -c sidegate.yaml            every problem of a configuration at once\n  \
        sidegate run -c sidegate.yaml              serve\n  \
        sidegate explain -c sidegate.yaml /orders  what happens to a request, step by step\n  \
        sidegate sessions list --token-file FILE   who is signed in\n  \
        sidegate report                            what routes that only observe would refuse\n  \
        sidegate keys new --folder FOLDER          signing keys in files of your own\n  \
        sidegate schema > sidegate.schema.json     for editors that complete YAML",
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT; a changed configuration is taken over, and at once on SIGHUP.
    #[command(after_help = "Examples:\n  sidegate run -c sidegate.yaml\n  \
        SIDEGATE__LOG__FORMAT=text sidegate run -c sidegate.yaml\n\n\
        Exit codes: 0 drained, 1 could not start, 64 wrong settings.")]
    Run(ConfigFile),
    /// Check a configuration: every problem at once, with file, line, path and remedy.
    #[command(after_help = "Examples:\n  sidegate check -c sidegate.yaml\n  \
        sidegate check -c sidegate.yaml --deny-warnings --accept 'upstreams[0].url'\n\n\
        Exit codes: 0 good (there may be warnings), 2 warnings that are denied, 64 wrong settings.")]
    Check(check::CheckOptions),
    /// Show what happens to a request, step by step, and what the upstream would see.
    #[command(after_help = "Examples:\n  sidegate explain -c sidegate.yaml /orders/7\n  \
        sidegate explain -c sidegate.yaml -X POST --token-file token.txt https://api.example.com/orders\n  \
        pbpaste | sidegate explain -c sidegate.yaml --token-file - /orders\n  \
        sidegate explain -c sidegate.yaml --dialect redex --endpoint refresh --body @body.json\n  \
        sidegate explain -c sidegate.yaml --dialect consinco --endpoint login --body - -H 'Accept: text/xml'\n\n\
        Nothing is sent to the upstream; key sets are fetched, and introspection is asked. With --dialect nobody is asked, \n\
        secrets show as \"…\" with their length, and the answer has placeholders for what only the running process knows.\n\n\
        Exit codes: 0 would be forwarded (or answered by sidegate itself), 2 would be refused, 64 wrong settings.")]
    Explain(explain::Question),
    /// Start sidegate with an upstream and a user on this machine, and print what to try.
    #[command(
        after_help = "Example:\n  sidegate quickstart\n\nSessions are kept in a temporary folder, which goes with it; Ctrl-C ends it."
    )]
    Quickstart(quickstart::Options),
    /// Print the JSON Schema of the configuration, or the reference that is made from it.
    #[command(after_help = "Examples:\n  sidegate schema > sidegate.schema.json\n  sidegate schema --markdown | less")]
    Schema(check::SchemaOptions),
    /// Hash a password, or make a secret and its hash, for the configuration.
    #[command(after_help = "Examples:\n  sidegate hash                      asks for a password\n  \
        sidegate hash --file password.txt\n  \
        pass show ana | sidegate hash\n  \
        sidegate hash --generate           a new secret for a client, and its hash\n\n\
        Secrets are never arguments: other users of the machine can read those.\n\n\
        Exit codes: 0 done, 1 no randomness, 64 there is no password or the command line is wrong.")]
    Hash(hash::Wanted),
    /// Ask a running sidegate whether it is ready: exit code 0 if so (for probes).
    #[command(after_help = "Examples:\n  sidegate health\n  sidegate health --address 127.0.0.1:9901 --path /livez")]
    Health(health::Probe),
    /// Make, rotate and list signing keys in a folder; make master keys.
    #[command(after_help = "Examples:\n  sidegate keys new --folder /etc/sidegate/signing\n  \
        sidegate keys rotate --folder /etc/sidegate/signing\n  \
        (umask 077; sidegate keys master > master.keys)\n\n\
        Without authority.signing.folder, sidegate makes and rotates its signing keys itself, in the session store.")]
    Keys(keys::Keys),
    /// Tell what the routes of a running sidegate that only observe would refuse, if they enforced.
    #[command(after_help = "Examples:\n  sidegate report\n  sidegate report --route orders --json\n  \
        sidegate report | cut -f1,6 | sort -u                  routes and what each of them would refuse for\n  \
        sidegate report --reset --route orders --token-file admin.token\n\n\
        Columns in a pipe: route, verdict (enforce, wait, mend, unused), since, requests, would be refused, reason, refused \n\
        for it, since the last reload, first, last. A route that would refuse nothing has one line, with `-` for the reason.\n\n\
        Counting begins with the process, and goes on across reloads. Exit codes: 0 done, 1 no answer or refused, \n\
        2 there is no such route that observes, 64 wrong command line or token file.")]
    Report(report::Wanted),
    /// List, show and end the sessions of a running sidegate; move them from one store to another.
    #[command(after_help = "Examples:\n  sidegate sessions list --token-file admin.token\n  \
        sidegate sessions revoke --user ana --token-file admin.token\n  \
        sidegate sessions export -c redb.yaml --to sessions.moved\n  \
        sidegate sessions import -c redis.yaml --from sessions.moved\n\n\
        To be asked, the running process needs `admin.token_file` in its configuration.\n\n\
        Exit codes: 0 done, 1 no answer, refused or failed, 2 there is no such session, 3 something was left behind, \n\
        64 wrong command line, token file or settings.")]
    Sessions(sessions::Sessions),
    /// Write the manual pages.
    #[command(after_help = "Examples:\n  sidegate man | man -l -\n  sidegate man --folder /usr/local/share/man/man1")]
    Man(manual::Pages),
    /// Print what a shell needs to complete a command line of sidegate.
    #[command(after_help = "Examples:\n  \
        sidegate completions bash > ~/.local/share/bash-completion/completions/sidegate\n  \
        sidegate completions zsh > \"${fpath[1]}/_sidegate\"\n  \
        sidegate completions fish > ~/.config/fish/completions/sidegate.fish")]
    Completions(manual::Completions),
}

#[derive(Args)]
struct ConfigFile {
    /// The configuration file (YAML).
    #[arg(short, long = "config", value_name = "FILE")]
    config: PathBuf,
}

/// Parses the command line and carries it out.
pub fn main() -> ExitCode {
    panics::install();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refused) => {
            let _ = refused.print();
            return ExitCode::from(if refused.use_stderr() { WRONG_SETTINGS } else { 0 });
        }
    };
    match cli.command {
        Command::Run(file) => run::run(&file.config),
        Command::Check(options) => check::check(&options),
        Command::Explain(question) => explain::explain(&question),
        Command::Quickstart(options) => quickstart::quickstart(&options),
        Command::Schema(options) => check::schema(&options),
        Command::Hash(wanted) => hash::hash(&wanted),
        Command::Health(probe) => health::health(&probe),
        Command::Keys(asked) => keys::keys(&asked),
        Command::Report(wanted) => report::report(&wanted),
        Command::Sessions(asked) => sessions::sessions(&asked),
        Command::Man(pages) => manual::man(&pages, Cli::command()),
        Command::Completions(wanted) => manual::completions(&wanted, Cli::command()),
    }
}
