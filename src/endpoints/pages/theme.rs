//! The templates and the style: the built-in ones, and those of a theme in their place.

use std::{fs, io, path::Path};

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use minijinja::{Environment, UndefinedBehavior, Value};

/// Templates that were read, and the style that every page carries.
pub(super) struct Theme {
    pub(super) templates: Environment<'static>,
    /// What `style-src` of the pages allows: this style and no other (CSP 3, section 2.3.1).
    pub(super) style_source: String,
}

/// What is wrong with a theme, with file and line.
#[derive(Debug, thiserror::Error)]
pub enum ThemeError {
    #[error("pages.theme: {path}: {error}")]
    Unreadable { path: String, error: io::Error },
    #[error("pages.theme: {path}:{line}: {message}")]
    Template { path: String, line: usize, message: String },
    #[error("pages.theme: {path}: {message}")]
    Style { path: String, message: &'static str },
}

impl Theme {
    pub(super) fn load(folder: Option<&Path>, brand: &str) -> Result<Theme, ThemeError> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, source) in BUILT_IN {
            let added = templates.add_template(name, source);
            added.map_err(|error| broken(Path::new("(built in)"), &error))?;
        }
        let mut style = STYLE.to_owned();
        if let Some(folder) = folder {
            for (name, source) in files(folder)? {
                if name == "style.css" {
                    style = source;
                } else {
                    let added = templates.add_template_owned(name, source);
                    added.map_err(|error| broken(folder, &error))?;
                }
            }
            if style.to_ascii_lowercase().contains("</style") {
                let path = folder.join("style.css").display().to_string();
                return Err(ThemeError::Style { path, message: "</style may not stand in it" });
            }
        }
        let digest = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, style.as_bytes()));
        templates.add_global("style", Value::from_safe_string(style));
        templates.add_global("brand", brand);
        Ok(Theme { templates, style_source: format!("'sha256-{digest}'") })
    }
}

/// `style.css` and every template of a folder; what else lies there is not looked at.
fn files(folder: &Path) -> Result<Vec<(String, String)>, ThemeError> {
    let unreadable = |path: &Path, error| ThemeError::Unreadable { path: path.display().to_string(), error };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
        let name = entry.map_err(|error| unreadable(folder, error))?.file_name();
        // A template whose name does not end so would not be escaped.
        let Some(name) = name.to_str().filter(|name| name.ends_with(".html") || *name == "style.css") else { continue };
        let path = folder.join(name);
        let source = fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
        files.push((name.to_owned(), source));
    }
    Ok(files)
}

pub(super) fn broken(folder: &Path, error: &minijinja::Error) -> ThemeError {
    ThemeError::Template {
        path: folder.join(error.name().unwrap_or("?")).display().to_string(),
        line: error.line().unwrap_or(1),
        message: match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        },
    }
}

const BUILT_IN: [(&str, &str); 5] = [
    ("base.html", include_str!("built_in/base.html")),
    ("sign-in.html", include_str!("built_in/sign-in.html")),
    ("consent.html", include_str!("built_in/consent.html")),
    ("expired.html", include_str!("built_in/expired.html")),
    ("error.html", include_str!("built_in/error.html")),
];

const STYLE: &str = include_str!("built_in/style.css");
