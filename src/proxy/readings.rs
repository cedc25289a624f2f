//! What an easy-going upstream could take a path for.
//!
//! Servers, frameworks and file systems behind us decode once more, cut off `;parameters`, read a backslash as a
//! slash or drop what they deem blank, in any order. This is the closure over all of those habits. It is
//! needed only for paths that are not plain, so it may cost something; its size is bounded.

use super::path::escape;

/// All readings of `path` but the first, which is `path` itself; `None` if there are more than [`MOST`], or of more
/// than [`MOST_BYTES`] together.
///
/// Letter case is left alone: who looks a reading up compares without it.
pub fn readings(path: &str) -> Option<Vec<Vec<u8>>> {
    let mut found = vec![path.as_bytes().to_vec()];
    let mut bytes = path.len();
    let mut next = 0;
    while next < found.len() {
        for habit in HABITS {
            let reading = habit(&found[next]);
            if found.contains(&reading) {
                continue;
            }
            bytes += reading.len();
            if found.len() > MOST || bytes > MOST_BYTES {
                return None;
            }
            found.push(reading);
        }
        next += 1;
    }
    found.swap_remove(0);
    Some(found)
}

/// Readings beyond this number make a path ambiguous by themselves.
const MOST: usize = 64;

/// Keeps the work for one request under a millisecond, however long its path.
const MOST_BYTES: usize = 32 * 1024;

/// Takes and returns a path that begins with a slash; where it changes nothing, the same bytes.
type Habit = fn(&[u8]) -> Vec<u8>;

const HABITS: [Habit; 11] = [
    decode,
    fold_lookalikes,
    turn_backslashes,
    drop_parameters,
    |path| trim_segments(path, false),
    |path| trim_segments(path, true),
    drop_controls,
    collapse_slashes,
    drop_authority,
    cut_at_delimiter,
    resolve_dots,
];

/// Percent-escapes, also in the form `%uXXXX` of old Microsoft servers; malformed ones stay.
fn decode(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match *tail {
            [high, low, ..] if *byte == b'%' && escape(Some(high), Some(low)).is_some() => {
                out.extend(escape(Some(high), Some(low)));
                rest = &tail[2..];
            }
            [b'u' | b'U', a, b, c, d, ..] if *byte == b'%' => {
                let unit = escape(Some(a), Some(b)).zip(escape(Some(c), Some(d)));
                match unit.and_then(|(high, low)| char::from_u32(u32::from(high) << 8 | u32::from(low))) {
                    Some(char) => {
                        out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                        rest = &tail[5..];
                    }
                    None => out.push(b'%'),
                }
            }
            _ => out.push(*byte),
        }
    }
    out
}

/// Overlong two-byte forms, full-width forms and a few letters that case mapping or best-fit tables turn into ASCII.
fn fold_lookalikes(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\u{ff01}'..='\u{ff5e}' => out.extend(u8::try_from(u32::from(char) - 0xfee0).ok()),
                '\u{2024}' | '\u{3002}' => out.push(b'.'),
                '\u{2025}' => out.extend_from_slice(b".."),
                '\u{2215}' | '\u{2044}' => out.push(b'/'),
                '\u{2216}' => out.push(b'\\'),
                '\u{3000}' | '\u{a0}' => out.push(b' '),
                '\u{130}' | '\u{131}' => out.push(b'i'),
                '\u{17f}' => out.push(b's'),
                '\u{212a}' => out.push(b'k'),
                other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        out.extend_from_slice(chunk.invalid());
    }
    let mut at = 0;
    while at + 1 < out.len() {
        if matches!(out[at], 0xc0 | 0xc1) && out[at + 1] & 0xc0 == 0x80 {
            out[at] = (out[at] & 1) << 6 | out[at + 1] & 0x3f;
            out.remove(at + 1);
        }
        at += 1;
    }
    out
}

fn turn_backslashes(path: &[u8]) -> Vec<u8> {
    path.iter().map(|&byte| if byte == b'\\' { b'/' } else { byte }).collect()
}

/// `;` and what follows it, in each segment (the path parameters of RFC 3986, 3.3, as servlets read them).
fn drop_parameters(path: &[u8]) -> Vec<u8> {
    by_segment(path, |segment| segment.split(|&byte| byte == b';').next().unwrap_or_default())
}

/// Dots and blanks at a segment's end, as on Windows. What consists of nothing else becomes empty, or with
/// `keep_dots` the dot segment that it begins with.
fn trim_segments(path: &[u8], keep_dots: bool) -> Vec<u8> {
    by_segment(path, |segment| {
        let end = segment.iter().rposition(|byte| !matches!(byte, b'.' | b' ' | b'\t' | b'\r' | b'\n'));
        match (end, segment) {
            (Some(end), _) => &segment[..=end],
            (None, [b'.', b'.', ..]) if keep_dots => b"..",
            (None, [b'.', ..]) if keep_dots => b".",
            (None, _) => b"",
        }
    })
}

/// Tabs, line ends and the like, which URL parsers of the WHATWG kind skip.
fn drop_controls(path: &[u8]) -> Vec<u8> {
    path.iter().copied().filter(|byte| !matches!(byte, 0x01..=0x1f | 0x7f)).collect()
}

fn collapse_slashes(path: &[u8]) -> Vec<u8> {
    let mut out = path.to_vec();
    out.dedup_by(|next, byte| *next == b'/' && *byte == b'/');
    out
}

/// `//host/path` names a host to whoever parses it as a relative reference (RFC 3986, 4.2).
fn drop_authority(path: &[u8]) -> Vec<u8> {
    let Some(rest) = path.strip_prefix(b"//") else { return path.to_vec() };
    match rest.iter().position(|&byte| byte == b'/') {
        Some(slash) => rest[slash..].to_vec(),
        None => b"/".to_vec(),
    }
}

/// NUL ends a C string, `?` and `#` end a path that was decoded before it was parsed.
fn cut_at_delimiter(path: &[u8]) -> Vec<u8> {
    let end = path.iter().position(|byte| matches!(byte, 0 | b'?' | b'#')).unwrap_or(path.len());
    path[..end].to_vec()
}

/// RFC 3986, 5.2.4, where `..` at the root stays there.
fn resolve_dots(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = path[1..].split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            b"." => {}
            b".." => drop(kept.pop()),
            other => {
                kept.push(other);
                continue;
            }
        }
        if segments.peek().is_none() {
            kept.push(b"");
        }
    }
    join(kept.into_iter())
}

fn by_segment<'a>(path: &'a [u8], change: impl Fn(&'a [u8]) -> &'a [u8]) -> Vec<u8> {
    join(path[1..].split(|&byte| byte == b'/').map(change))
}

fn join<'a>(segments: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for segment in segments {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads_as(path: &str, reading: &str) {
        let all = readings(path).unwrap();
        assert!(all.iter().any(|found| found == reading.as_bytes()), "{path} is not read as {reading}");
    }

    #[test]
    fn each_habit_and_their_mixtures_are_followed() {
        for (path, reading) in [
            ("/a/%252e%252e/b", "/b"),
            ("/a/..;/b", "/b"),
            ("/a/..;x=1/b", "/b"),
            ("/a/..%2Fb", "/b"),
            ("/a/..%255Cb", "/b"),
            ("/a//b", "/a/b"),
            ("//x/b", "/b"),
            ("/b./c", "/b/c"),
            ("/b%20/c", "/b/c"),
            ("/a/..%20/b", "/b"),
            ("/a/.../b", "/b"),
            ("/b%2500.png", "/b"),
            ("/b%3Fx", "/b"),
            ("/b%23x", "/b"),
            ("/a/%25c0%25ae./b", "/b"),
            ("/a/%EF%BC%8E%EF%BC%8E%EF%BC%8Fb", "/b"),
            ("/%25u0062", "/b"),
            ("/a%2509b", "/ab"),
            ("/%E2%84%AAey", "/key"),
            ("/a/..%253B/b", "/b"),
            ("/a/%2525252e%2525252e/b", "/b"),
        ] {
            reads_as(path, reading);
        }
    }

    #[test]
    fn a_plain_path_has_no_other_reading() {
        for path in ["/", "/a/b", "/a.b/c-d/"] {
            assert_eq!(readings(path).unwrap(), Vec::<Vec<u8>>::new(), "{path}");
        }
    }

    #[test]
    fn too_many_readings_are_reported_not_computed() {
        assert_eq!(readings(&format!("/%{}41", "25".repeat(100))), None);
        let twenty = format!("/%{}41", "25".repeat(20));
        assert!(readings(&twenty).is_some());
        assert!(readings(&format!("{twenty}{}", "a".repeat(4000))).is_none());
        assert!(readings(&format!("/{}", "a%20".repeat(2000))).is_some());
    }

    #[test]
    fn the_name_of_a_file_in_another_script_has_few_readings() {
        assert_eq!(readings("/caf%C3%A9%20du%20nord.pdf").unwrap().len(), 1);
    }
}
