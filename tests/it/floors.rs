//! A file uses `crate::…` only from a lower floor or from inside its own room.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The floor table of `src/lib.rs`: a line `10 main cli` gives the floor and its rooms.
fn floors() -> BTreeMap<String, u32> {
    let manual = fs::read_to_string("src/lib.rs").unwrap();
    let table =
        manual.lines().filter_map(|line| line.strip_prefix("//!")).skip_while(|line| !line.contains("```text floors"));
    table
        .skip(1)
        .take_while(|line| !line.contains("```"))
        .flat_map(|line| {
            let mut words = line.split_whitespace();
            let floor: u32 = words.next().unwrap().parse().unwrap();
            words.map(move |room| (room.to_owned(), floor)).collect::<Vec<_>>()
        })
        .collect()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The rooms that `use crate::{a, b::…}` and paths like `crate::a::…` name.
fn rooms_named(source: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in source.match_indices("crate::") {
        let rest = &source[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let (mut depth, mut start) = (0, true);
            for (at, char) in list.char_indices() {
                match char {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    char if depth == 0 && start && char.is_alphabetic() => {
                        rooms.push(word(&list[at..]));
                        start = false;
                    }
                    _ => {}
                }
            }
        } else {
            rooms.push(word(rest));
        }
    }
    rooms
}

fn word(text: &str) -> String {
    text.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect()
}

#[test]
fn no_arrow_goes_up_or_sideways() {
    let floors = floors();
    let mut found = Vec::new();
    files(Path::new("src"), &mut found);
    let mut wrong = Vec::new();
    for file in found {
        let inside = file.strip_prefix("src").unwrap().to_string_lossy().replace('\\', "/");
        let room = inside.split(['/', '.']).next().unwrap().to_owned();
        if room == "lib" {
            continue;
        }
        let own = *floors.get(&room).unwrap_or_else(|| panic!("`{room}` has no floor in src/lib.rs"));
        // Tests may reach anywhere.
        let source = fs::read_to_string(&file).unwrap();
        let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        if inside.contains("test") {
            continue;
        }
        for other in rooms_named(source) {
            match floors.get(&other) {
                Some(floor) if *floor < own || other == room => {}
                Some(floor) => wrong.push(format!("{inside} (floor {own}) uses {other} (floor {floor})")),
                None => wrong.push(format!("{inside} uses `{other}`, which has no floor")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_use_lines_sees_every_room() {
    assert_eq!(rooms_named("use crate::{auth::{A, b::C}, config, model::X};"), ["auth", "config", "model"]);
    assert_eq!(rooms_named("let x = crate::proxy::y();"), ["proxy"]);
}
