//! The table of fields in `docs/status.md` is made from the types.

use std::{collections::BTreeSet, fmt::Write, fs, path::Path};

use serde_json::{Map, Value};

use super::Page;

/// Every member with its type and meaning, in the order of the answer; `[]` stands for each item of a list.
fn table() -> String {
    let schema: Value = schemars::schema_for!(Page).into();
    let mut out = String::from("| member | type | meaning |\n| --- | --- | --- |\n");
    members(&schema, schema["$defs"].as_object().unwrap(), "", &mut out);
    out
}

fn members(schema: &Value, defs: &Map<String, Value>, at: &str, out: &mut String) {
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{at}{name}");
        let (inner, kind) = resolved(member, defs);
        let meaning = member["description"].as_str().or(inner["description"].as_str()).unwrap_or_default();
        let mut meaning = meaning.replace('\n', " ");
        meaning = meaning.replace("`None`", "`null`");
        for (value, says) in variants(inner) {
            if meaning.contains(&format!("`{value}`")) {
                continue;
            }
            let _ = write!(meaning, "{}`{value}`{says}", if meaning.is_empty() { "" } else { " " });
        }
        let _ = writeln!(out, "| `{path}` | {kind} | {} |", meaning.trim());
        if kind.starts_with("object") {
            members(inner, defs, &format!("{path}."), out);
        }
        if kind.starts_with("list") {
            let (item, _) = resolved(&inner["items"], defs);
            members(item, defs, &format!("{path}[]."), out);
        }
    }
}

fn variants(schema: &Value) -> Vec<(String, String)> {
    let one_of = schema["oneOf"].as_array().into_iter().flatten();
    let described = one_of.flat_map(|variant| {
        let values = variant["enum"].as_array().cloned().unwrap_or_else(|| vec![variant["const"].clone()]);
        let says = variant["description"].as_str().map(|says| format!(": {}", says.replace('\n', " ")));
        values.into_iter().filter_map(move |value| Some((value.as_str()?.to_owned(), says.clone().unwrap_or_default())))
    });
    let plain = schema["enum"].as_array().into_iter().flatten();
    described.chain(plain.filter_map(|value| Some((value.as_str()?.to_owned(), String::new())))).collect()
}

/// Behind references and `null`.
fn resolved<'a>(schema: &'a Value, defs: &'a Map<String, Value>) -> (&'a Value, String) {
    let target = |schema: &'a Value| match schema["$ref"].as_str() {
        Some(reference) => &defs[reference.rsplit('/').next().unwrap()],
        None => schema,
    };
    if let Some(any) = schema["anyOf"].as_array() {
        let inner = target(any.iter().find(|one| one["type"] != "null").unwrap());
        return (inner, format!("{} or null", kind(inner)));
    }
    let inner = target(schema);
    (inner, kind(inner))
}

fn kind(schema: &Value) -> String {
    let word = |kind: &str| {
        match kind {
            "array" => "list",
            "integer" | "number" => "number",
            "boolean" => "true or false",
            "string" => "text",
            other => other,
        }
        .to_owned()
    };
    match &schema["type"] {
        Value::String(kind) => word(kind),
        Value::Array(kinds) => {
            let kinds: Vec<String> = kinds.iter().filter_map(Value::as_str).map(word).collect();
            kinds.join(" or ")
        }
        _ => "text".to_owned(),
    }
}

#[test]
fn the_document_has_every_member_of_the_answer() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/status.md");
    let document = fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let table = table();
    if written.trim() == table.trim() {
        return;
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (written, made) = (lines(written), lines(&table));
    let missing: Vec<_> = made.difference(&written).collect();
    let wrong: Vec<_> = written.difference(&made).collect();
    let proposal = std::env::temp_dir().join("status.md");
    fs::write(&proposal, format!("{before}{BEGIN}\n{table}{END}{after}")).unwrap();
    panic!("docs/status.md lacks {missing:#?}\nand has {wrong:#?}\nas it should be: {}", proposal.display());
}

const BEGIN: &str = "<!-- members -->";
const END: &str = "<!-- end -->";
