//! `sidegate report`: what routes that only observe would refuse, asked of the admin listener of a running sidegate.

use std::{
    fmt::Write,
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
};

use form_urlencoded::Serializer;
use serde_json::Value;

use super::{
    WRONG_SETTINGS,
    client::{Client, Endpoint, Refused},
    output::{self, text},
};
use crate::model::{BoxError, words::grouped};

#[derive(clap::Args)]
pub struct Wanted {
    /// The admin listener of the running process: HOST:PORT, or unix:/path.
    #[arg(long, default_value = "127.0.0.1:9902", value_name = "ADDRESS")]
    admin: Endpoint,
    /// Only this route.
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Begin the counts anew, for example when the clients have been mended.
    #[arg(long, requires = "token_file")]
    reset: bool,
    /// For --reset: the file that `admin.token_file` of the configuration names, or `-` for standard input.
    #[arg(long, value_name = "FILE", requires = "reset")]
    token_file: Option<PathBuf>,
    /// Print JSON, for machines.
    #[arg(long)]
    json: bool,
}

pub fn report(wanted: &Wanted) -> ExitCode {
    let client = match Client::new(&wanted.admin, wanted.token_file.as_deref()) {
        Ok(client) => client,
        Err(error) => {
            eprintln!("sidegate: {error}");
            return ExitCode::from(WRONG_SETTINGS);
        }
    };
    let done = if wanted.reset { reset(&client, wanted) } else { print(&client, wanted) };
    match done {
        Err(error) if error.is::<Unknown>() || error.downcast_ref().is_some_and(Refused::is_unknown) => {
            eprintln!("sidegate: {error}");
            ExitCode::from(UNKNOWN)
        }
        done => output::finish(done),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no route of this name observes")]
struct Unknown;

fn print(client: &Client, wanted: &Wanted) -> Result<(), BoxError> {
    let answer = client.ask("GET", "/report")?;
    let mut routes = answer["routes"].as_array().cloned().unwrap_or_default();
    if let Some(name) = &wanted.route {
        routes.retain(|route| route["route"] == **name);
        if routes.is_empty() {
            return Err(Unknown.into());
        }
    }
    output::print(&match (wanted.json, io::stdout().is_terminal()) {
        (true, _) => format!("{:#}\n", Value::Array(routes)),
        (false, true) => for_people(&routes),
        (false, false) => routes.iter().flat_map(lines).map(|line| line.join("\t") + "\n").collect(),
    })?;
    Ok(())
}

fn reset(client: &Client, wanted: &Wanted) -> Result<(), BoxError> {
    let target = match &wanted.route {
        None => "/report".to_owned(),
        Some(route) => format!("/report?{}", Serializer::new(String::new()).append_pair("route", route).finish()),
    };
    let answer = client.ask("DELETE", &target)?;
    output::print(&match (wanted.json, answer["reset"].as_u64()) {
        (true, _) | (false, None) => format!("{answer}\n"),
        (false, Some(count)) => format!("{count} route(s) counted anew\n"),
    })?;
    Ok(())
}

fn for_people(routes: &[Value]) -> String {
    if routes.is_empty() {
        return "No route observes: write `mode: observe` where you want to know before you enforce.\n".to_owned();
    }
    let mut out = String::new();
    for (number, route) in routes.iter().enumerate() {
        let gap = if number > 0 { "\n" } else { "" };
        let _ = writeln!(out, "{gap}{}", text(&route["sentence"]));
        let reasons = items(&route["reasons"]);
        if reasons.is_empty() {
            continue;
        }
        let mut rows = vec![["  REASON", "REFUSED", "SINCE RELOAD", "FIRST", "LAST"].map(str::to_owned).to_vec()];
        rows.extend(reasons.iter().map(|reason| {
            let number = |name: &str| reason[name].as_u64().map_or_else(|| "-".to_owned(), grouped);
            let (first, last) = (text(&reason["first"]), text(&reason["last"]));
            vec![
                format!("  {}", text(&reason["reason"])),
                number("refused"),
                number("refused_since_reload"),
                first,
                last,
            ]
        }));
        out.push_str(&output::aligned(&rows));
        for reason in reasons {
            let _ = writeln!(out, "  {}: {}", text(&reason["reason"]), text(&reason["remedy"]));
            for known in items(&reason["known"]) {
                let count = grouped(known["refused"].as_u64().unwrap_or_default());
                let _ = writeln!(out, "    {count} of {}", whose(known));
            }
            for example in items(&reason["examples"]) {
                let (at, id, code) = (text(&example["at"]), text(&example["request_id"]), text(&example["code"]));
                let _ = writeln!(out, "    for example {at} request_id={id} ({code})");
            }
        }
    }
    out
}

fn whose(known: &Value) -> String {
    match (&known["issuer"], &known["client"]) {
        (Value::Null, Value::Null) => "others".to_owned(),
        (issuer, Value::Null) => format!("issuer {}, clients that the configuration does not name", text(issuer)),
        (issuer, client) => format!("issuer {}, client {}", text(issuer), text(client)),
    }
}

/// One line for each reason, or one for a route that would refuse nothing.
fn lines(route: &Value) -> Vec<Vec<String>> {
    let start = ["route", "verdict", "since", "requests", "would_refuse"].map(|name| text(&route[name]));
    let line = |reason: &Value| {
        let end = ["reason", "refused", "refused_since_reload", "first", "last"].map(|name| text(&reason[name]));
        start.iter().cloned().chain(end).collect()
    };
    match items(&route["reasons"]) {
        [] => vec![line(&Value::Null)],
        reasons => reasons.iter().map(line).collect(),
    }
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// The exit code for a route that is not there or does not observe.
const UNKNOWN: u8 = 2;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn routes() -> Vec<Value> {
        vec![
            json!({
                "route": "orders", "verdict": "mend", "sentence": "route orders: 2 of 9 …", "since": "S", "requests": 9,
                "would_refuse": 2, "since_reload": null,
                "reasons": [{
                    "reason": "audience_refused", "refused": 2000, "refused_since_reload": null, "first": "F", "last": "L",
                    "remedy": "do this",
                    "known": [{"issuer": "corp", "client": "billing", "refused": 1500}, {"issuer": "corp", "client": null, "refused": 500}],
                    "examples": [{"at": "A", "request_id": "abc", "code": "audience_refused"}],
                }],
            }),
            json!({
                "route": "docs\t", "verdict": "enforce", "sentence": "route docs: 0 of 7 …", "since": "S", "requests": 7,
                "would_refuse": 0, "since_reload": null, "reasons": [],
            }),
        ]
    }

    #[test]
    fn people_read_a_sentence_a_table_and_what_to_do() {
        assert_eq!(
            for_people(&routes()),
            "route orders: 2 of 9 …\n\
             \u{20} REASON            REFUSED  SINCE RELOAD  FIRST  LAST\n\
             \u{20} audience_refused  2,000    -             F      L\n\
             \u{20} audience_refused: do this\n\
             \u{20}   1,500 of issuer corp, client billing\n\
             \u{20}   500 of issuer corp, clients that the configuration does not name\n\
             \u{20}   for example A request_id=abc (audience_refused)\n\
             \nroute docs: 0 of 7 …\n"
        );
        assert!(for_people(&[]).starts_with("No route observes"));
    }

    #[test]
    fn programs_read_a_line_for_each_reason() {
        let lines: Vec<String> = routes().iter().flat_map(lines).map(|line| line.join("|")).collect();
        assert_eq!(lines, ["orders|mend|S|9|2|audience_refused|2000|-|F|L", "docs\u{fffd}|enforce|S|7|0|-|-|-|-|-"]);
    }
}
