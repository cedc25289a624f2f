//! `${NAME}` inside a value.

use std::borrow::Cow;

use super::environment::Environment;

/// The longest value that may come out, so that a file cannot grow without bound.
const LONGEST: usize = 64 * 1024;

/// Replaces `${NAME}` and `${NAME:-default}` in `text`; `$${` stands for `${`, any other `$` for itself.
///
/// The replacement is not looked at again. The boolean of the answer is true if something was replaced. The error is a
/// sentence, without any value in it.
pub(super) fn expand<'t>(text: &'t str, environment: &Environment) -> Result<(Cow<'t, str>, bool), String> {
    if !text.contains("${") {
        return Ok((text.into(), false));
    }
    let mut out = String::with_capacity(text.len());
    let mut replaced = false;
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((inside, after)) = after.split_once('}') else {
            return Err("a ${ without its }; write $${ for a literal ${".into());
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_name(name) {
            return Err("between ${ and } belongs the name of a variable, such as ${NAME} or ${NAME:-default}; \
                 write $${ for a literal ${"
                .into());
        }
        // As in a shell, a default also stands in for an empty value.
        let value = match (environment.get(name), default) {
            (None | Some(""), Some(default)) => default,
            (Some(value), _) => value,
            (None, None) => return Err(format!("the environment has no variable {name}")),
        };
        out.push_str(value);
        if out.len() > LONGEST {
            return Err(format!("longer than {LONGEST} bytes once its variables are replaced"));
        }
        replaced = true;
        rest = after;
    }
    out.push_str(rest);
    Ok((out.into(), replaced))
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        let environment = [("HOST", "db"), ("EMPTY", ""), ("NESTED", "${HOST}")].into_iter().collect();
        expand(text, &environment).map(|(text, _)| text.into_owned())
    }

    #[test]
    fn a_name_is_replaced_wherever_it_stands() {
        assert_eq!(expanded("http://${HOST}:80/${HOST}").unwrap(), "http://db:80/db");
        assert_eq!(expanded("${EMPTY}").unwrap(), "");
    }

    #[test]
    fn a_default_stands_in_for_what_is_missing_or_empty() {
        assert_eq!(expanded("${GONE:-a:-b}${EMPTY:-c}${HOST:-d}${GONE:-}").unwrap(), "a:-bcdb");
    }

    #[test]
    fn a_lone_dollar_and_an_escaped_brace_are_literal() {
        assert_eq!(expanded("$5 $HOST $${HOST} $").unwrap(), "$5 $HOST ${HOST} $");
    }

    #[test]
    fn what_was_put_in_is_not_replaced_again() {
        assert_eq!(expanded("${NESTED}").unwrap(), "${HOST}");
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(expanded("${GONE}").unwrap_err(), "the environment has no variable GONE");
        assert_eq!(expanded("${HOST").unwrap_err(), "a ${ without its }; write $${ for a literal ${");
        assert!(expanded("${}").unwrap_err().starts_with("between ${ and }"));
        assert!(expanded("${A B}").unwrap_err().starts_with("between ${ and }"));
    }
}
