//! The configuration reference: the schema as tables, a section for each mapping, in the order of the file.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;

const PREFACE: &str = include_str!("preface.md");
const DEFINITIONS: &str = "#/$defs/";

/// The page `docs/configuration.md`.
pub fn markdown() -> String {
    let schema = super::schema();
    let mut page = Page { schema: &schema, placed: BTreeMap::new(), text: PREFACE.to_owned() };
    page.section("", &schema);
    page.text
}

struct Page<'a> {
    schema: &'a Value,
    /// Definition to the path of its section: a second use points there.
    placed: BTreeMap<&'a str, String>,
    text: String,
}

/// A mapping that gets a section of its own.
struct Part<'a> {
    path: String,
    schema: &'a Value,
}

impl<'a> Page<'a> {
    fn section(&mut self, path: &str, schema: &'a Value) {
        let title = if path.is_empty() { "The file".to_owned() } else { format!("`{path}`") };
        let about = if path.is_empty() { "" } else { text(schema, "description") };
        let one_of = if schema["oneOf"].is_array() { " One of:" } else { "" };
        let _ = writeln!(self.text, "\n## {title}\n");
        if !about.is_empty() {
            let _ = writeln!(self.text, "{}{one_of}\n", about.trim_end());
        }
        self.text.push_str("| setting | type | default | meaning |\n| --- | --- | --- | --- |\n");
        let mut parts = Vec::new();
        for Setting { name, schema, comment } in settings(schema) {
            let inside = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            let kind = self.kind(&inside, schema, &mut parts);
            let (meaning, default) = split(comment);
            let default = default.or_else(|| stated(&schema["default"])).map(|value| code(&value)).unwrap_or_default();
            let _ = writeln!(self.text, "| `{name}` | {kind} | {} | {} |", cell(&default), cell(&meaning));
        }
        for part in parts {
            self.section(&part.path, part.schema);
        }
    }

    /// What may stand there, in words; mappings are linked, and those that have no section yet are added to `parts`.
    fn kind(&mut self, path: &str, schema: &'a Value, parts: &mut Vec<Part<'a>>) -> String {
        if let Some(other) = schema["anyOf"].as_array().and_then(|all| all.iter().find(|one| one["type"] != "null")) {
            return self.kind(path, other, parts);
        }
        if let Some(name) = schema["$ref"].as_str().and_then(|place| place.strip_prefix(DEFINITIONS)) {
            let definition = &self.schema["$defs"][name];
            return match name {
                "Duration" | "Size" => name.to_lowercase(),
                _ if settings(definition).next().is_none() => self.kind(path, definition, parts),
                _ => {
                    let path = self.placed.entry(name).or_insert_with(|| {
                        parts.push(Part { path: path.to_owned(), schema: definition });
                        path.to_owned()
                    });
                    link(path)
                }
            };
        }
        let values = values(schema);
        if !values.is_empty() {
            return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
        }
        match type_of(schema) {
            "array" => {
                let item = self.kind(&format!("{path}[]"), &schema["items"], parts);
                if item.starts_with('`') { format!("list of: {item}") } else { format!("list of {}", plural(&item)) }
            }
            "object" if settings(schema).next().is_some() => {
                parts.push(Part { path: path.to_owned(), schema });
                link(path)
            }
            "object" if schema["additionalProperties"] == false => "`{}`".to_owned(),
            "object" if schema["additionalProperties"].is_object() => {
                format!("mapping to {}", self.kind(&format!("{path}.NAME"), &schema["additionalProperties"], parts))
            }
            "object" => "mapping".to_owned(),
            "string" => "text".to_owned(),
            "boolean" => "`true`, `false`".to_owned(),
            "integer" => match schema["maximum"].as_u64() {
                Some(most) => format!("number, at most {most}"),
                None => "number".to_owned(),
            },
            "number" => "number".to_owned(),
            _ => "any value".to_owned(),
        }
    }
}

struct Setting<'a> {
    name: &'a str,
    schema: &'a Value,
    comment: &'a str,
}

/// The keys of a mapping; of one that has alternatives, those of all of them.
fn settings(schema: &Value) -> impl Iterator<Item = Setting<'_>> {
    let alternatives = schema["oneOf"].as_array().into_iter().flatten().map(|one| (one, text(one, "description")));
    std::iter::once((schema, "")).chain(alternatives).flat_map(|(schema, about)| {
        schema["properties"].as_object().into_iter().flatten().map(move |(name, schema)| {
            let comment = if about.is_empty() { text(schema, "description") } else { about };
            Setting { name, schema, comment }
        })
    })
}

/// The words that an enumeration allows.
fn values(schema: &Value) -> Vec<&str> {
    let own = schema["enum"].as_array().into_iter().flatten().chain(schema.get("const"));
    let alternatives = schema["oneOf"].as_array().into_iter().flatten().flat_map(values);
    own.filter_map(Value::as_str).chain(alternatives).collect()
}

fn type_of(schema: &Value) -> &str {
    let kinds = schema["type"].as_array();
    kinds.and_then(|kinds| kinds.iter().find(|kind| *kind != "null")).unwrap_or(&schema["type"]).as_str().unwrap_or("")
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema[key].as_str().unwrap_or("")
}

/// A comment without the sentence that states the default, and that default.
fn split(comment: &str) -> (String, Option<String>) {
    let comment = comment.replace('\n', " ");
    for (mark, end) in [("Default: ", ""), ("; default: ", ".")] {
        if let Some((before, after)) = comment.split_once(mark) {
            let (default, rest) = after.split_once(". ").unwrap_or((after, ""));
            let default = default.strip_suffix('.').unwrap_or(default);
            let meaning = format!("{}{end} {rest}", before.trim_end());
            return (meaning.trim().to_owned(), Some(default.to_owned()));
        }
    }
    (comment, None)
}

/// A default that the schema states and no comment does.
fn stated(default: &Value) -> Option<String> {
    match default {
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        value => Some(value.to_string()),
    }
}

/// Code, if it is one word that could be written so.
fn code(value: &str) -> String {
    if value.contains([' ', '`', ',']) { value.to_owned() } else { format!("`{value}`") }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn plural(kind: &str) -> String {
    match kind {
        "text" => "texts".to_owned(),
        "number" => "numbers".to_owned(),
        kind => kind.replacen("[mapping]", "[mappings]", 1),
    }
}

fn link(path: &str) -> String {
    let anchor: String = path.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
    format!("[mapping](#{})", anchor.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_repository_is_what_the_schema_says() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let page = std::fs::read_to_string(file).unwrap();
        assert!(page == markdown(), "run: cargo run -- schema --markdown > docs/configuration.md");
    }

    #[test]
    fn a_default_is_told_apart_from_the_meaning() {
        let parts = |comment| {
            let (meaning, default) = split(comment);
            (meaning, default.unwrap_or_default())
        };
        let pair = |meaning: &str, default: &str| (meaning.to_owned(), default.to_owned());
        assert_eq!(parts("Once.\nDefault: 5s."), pair("Once.", "5s"));
        assert_eq!(parts("Before. Default: a tenth. After."), pair("Before. After.", "a tenth"));
        assert_eq!(parts("A `typ`; default: any."), pair("A `typ`.", "any"));
        assert_eq!(parts("Default: /token"), pair("", "/token"));
        assert_eq!(parts("Absent: off."), pair("Absent: off.", ""));
    }

    #[test]
    fn no_two_sections_have_one_anchor() {
        let page = markdown();
        let mut anchors: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).map(link).collect();
        let all = anchors.len();
        anchors.sort();
        anchors.dedup();
        assert!(all > 50 && anchors.len() == all);
    }
}
