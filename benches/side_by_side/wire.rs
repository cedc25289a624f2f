//! What the load generator and the upstream share: options, and just enough of HTTP/1.1.

/// The value after `name` on the command line, the last one if it stands there more than once.
pub fn option(name: &str) -> Option<String> {
    options(name).pop()
}

/// Every value that follows a `name` on the command line.
pub fn options(name: &str) -> Vec<String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    arguments.windows(2).filter(|pair| pair[0] == name).map(|pair| pair[1].clone()).collect()
}

/// Whether `name` stands on the command line.
pub fn flag(name: &str) -> bool {
    std::env::args().any(|argument| argument == name)
}

/// A complete message head.
pub struct Head {
    /// Bytes up to and including the empty line.
    pub length: usize,
    pub content_length: Option<usize>,
}

/// Finds the end of the head in `bytes`; `None` while it is not there yet.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let mut content_length = None;
    let mut start = 0;
    loop {
        let end = start + bytes[start..].iter().position(|&byte| byte == b'\n')?;
        let line = bytes[start..end].trim_ascii_end();
        if line.is_empty() {
            return Some(Head { length: end + 1, content_length });
        }
        if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
            content_length = str::from_utf8(line[NAME.len()..].trim_ascii()).ok().and_then(|text| text.parse().ok());
        }
        start = end + 1;
    }
}

const NAME: &[u8] = b"content-length:";
