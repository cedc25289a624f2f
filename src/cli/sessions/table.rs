//! Sessions as text: for people in columns, for programs between tabs.

use serde_json::Value;

use crate::cli::output::{self, text};

/// Columns of equal width, with a heading before the first page.
pub fn aligned(sessions: &[Value], first: bool) -> String {
    let mut rows: Vec<Vec<String>> = sessions.iter().map(cells).collect();
    if first {
        rows.insert(0, HEADING.map(str::to_owned).to_vec());
    }
    output::aligned(&rows)
}

pub fn separated(sessions: &[Value]) -> String {
    sessions.iter().map(|session| cells(session).join("\t") + "\n").collect()
}

/// One session, a member a line.
pub fn listed(session: &Value) -> String {
    let members = session.as_object().into_iter().flatten();
    members
        .map(|(name, value)| match (name.as_str(), value) {
            ("revoked", Value::Object(revoked)) => {
                format!("{name}: {} at {}\n", text(&revoked["reason"]), text(&revoked["at"]))
            }
            (_, Value::Array(items)) => {
                format!("{name}: {}\n", items.iter().map(text).collect::<Vec<_>>().join(" "))
            }
            _ => format!("{name}: {}\n", text(value)),
        })
        .collect()
}

fn cells(session: &Value) -> Vec<String> {
    let user = if session["username"].is_null() { &session["subject"] } else { &session["username"] };
    let state = match (&session["revoked"], &session["alive"]) {
        (Value::Object(revoked), _) => text(&revoked["reason"]),
        (_, Value::Bool(true)) => "alive".to_owned(),
        _ => "over".to_owned(),
    };
    let ends = if session["generation"] == 0 { &session["expires"] } else { &session["idle_until"] };
    vec![
        text(&session["id"]),
        text(user),
        text(&session["client"]),
        text(&session["grant"]),
        state,
        text(&session["created"]),
        text(&session["refreshed"]),
        text(ends),
    ]
}

const HEADING: [&str; 8] = ["ID", "USER", "CLIENT", "GRANT", "STATE", "CREATED", "REFRESHED", "ENDS"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_somebody_typed_makes_no_column_and_drives_no_terminal() {
        let session = json!({
            "id": "i", "username": "a\tb\u{1b}[2J\n", "client": "c", "grant": "password", "alive": true, "revoked": null,
            "created": "1", "refreshed": "2", "idle_until": "3", "expires": "4", "generation": 1,
        });
        assert_eq!(
            separated(std::slice::from_ref(&session)),
            "i\ta\u{fffd}b\u{fffd}[2J\u{fffd}\tc\tpassword\talive\t1\t2\t3\n"
        );
        let table = aligned(&[session], true);
        assert!(table.starts_with("ID  USER") && table.lines().count() == 2, "{table}");
    }
}
