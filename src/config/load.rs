//! A file, the environment and the defaults into one checked configuration.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use super::{
    Config, Inputs,
    check::check,
    decode::{MOST_PROBLEMS, RENAMED, decode},
    environment::{Environment, apply_overrides},
    include::{self, Source, include_lists},
    place::{KeyPath, Origin, Problem, Problems, Warning},
    report,
    settings::Settings,
    tree::{self, Content, Node, Scalar},
};

/// A configuration that can be run, and what may be wrong with it all the same.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Warning>,
    /// What it was read from.
    pub inputs: Inputs,
}

/// Reads, decodes and checks `file`. Files that it names are read too; relative ones beside it.
///
/// # Errors
/// Every problem that could be found, not only the first one.
pub fn load(file: &Path, environment: &Environment) -> Result<Loaded, Problems> {
    let name = file.display().to_string();
    let base = file.parent().unwrap_or(Path::new(""));
    let mut inputs = Inputs::default();
    match include::read(file, &mut inputs) {
        Ok(source) => read(&source, &name, base, environment, inputs),
        Err(error) => Err(Problems {
            list: vec![Problem {
                path: KeyPath::default(),
                origin: Origin::File { name: name.as_str().into(), line: 0, column: 0 },
                message: format!("cannot be read: {error}"),
                remedy: String::new(),
            }],
            lines: BTreeMap::new(),
            inputs,
        }),
    }
}

/// Decodes and checks `source`, which messages call `name`; relative paths in it start from `base`.
///
/// # Errors
/// Every problem that could be found, not only the first one.
pub fn load_str(source: &str, name: &str, base: &Path, environment: &Environment) -> Result<Loaded, Problems> {
    read(source, name, base, environment, Inputs::default())
}

/// `inputs` is what was read before.
fn read(
    source: &str,
    name: &str,
    base: &Path,
    environment: &Environment,
    mut inputs: Inputs,
) -> Result<Loaded, Problems> {
    let name: Arc<str> = name.into();
    let mut root = match tree::parse(source, &name) {
        Ok(root) => root,
        Err(problem) => {
            return Err(Problems { lines: report::lines_of_text(source, &problem), list: vec![problem], inputs });
        }
    };
    if matches!(root.content, Content::Scalar(Scalar::Null)) {
        root.content = Content::Mapping(Vec::new());
    }
    let mut sources = vec![Source { name: name.clone(), text: source.to_owned() }];
    let shown = |list: Vec<Problem>, root: &Node, sources: &[Source], inputs: Inputs| Problems {
        lines: report::Shown::new(sources, root).lines_for(&list),
        list,
        inputs,
    };
    if !matches!(root.content, Content::Mapping(_)) {
        let problem = Problem {
            path: KeyPath::default(),
            origin: root.origin.clone(),
            message: "a configuration is a mapping".into(),
            remedy: "it starts for example with listeners:".into(),
        };
        return Err(shown(vec![problem], &root, &sources, inputs));
    }
    let mut problems = Vec::new();
    tree::expand_all(&mut root, &KeyPath::default(), environment, &mut problems);
    sources.extend(include_lists(&mut root, base, environment, &mut inputs, &mut problems));
    let mut left_out: Vec<KeyPath> = problems.iter().map(|problem| problem.path.clone()).collect();
    apply_overrides(&mut root, environment, &mut problems);
    let whole = root.clone(); // with what the decoder leaves out, for it must not be shown all the same

    let decoded = decode::<Settings>(&mut root, RENAMED, &mut problems);
    let mut answer = None;
    if let Some(decoded) = decoded {
        left_out.extend(decoded.pruned);
        let checked = check(&decoded.value, &root, base, inputs);
        inputs = checked.inputs;
        // What is missing only because it was left out above is not a second mistake.
        let own =
            |problem: &Problem| !left_out.iter().any(|out| problem.path.is_within(out) || out.is_within(&problem.path));
        problems.extend(checked.problems.into_iter().filter(own));
        let mut warnings = checked.warnings;
        warnings.sort_by_key(|warning| by_place(warning, &sources));
        answer = checked.config.map(|config| (config, warnings));
    }
    match answer {
        Some((config, warnings)) if problems.is_empty() => Ok(Loaded { config, warnings, inputs }),
        _ => {
            problems.sort_by_key(|problem| by_place(problem, &sources));
            problems.truncate(MOST_PROBLEMS);
            Err(shown(problems, &whole, &sources, inputs))
        }
    }
}

/// The order of the file, then that of the files that it names, and then what the environment says.
fn by_place(problem: &Problem, sources: &[Source]) -> (usize, u64, u64) {
    match &problem.origin {
        Origin::File { name, line, column } => {
            let file = sources.iter().position(|source| source.name == *name);
            (file.unwrap_or(sources.len()), *line, *column)
        }
        Origin::Variable(_) => (usize::MAX, 0, 0),
    }
}
