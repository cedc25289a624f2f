//! "Did you mean …?"

/// The candidate that `word` was probably meant to be.
///
/// At most a third of the letters may differ, two of them in a short word of four letters.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 100; // the distance costs length times length
    if word.len() > LONGEST {
        return None;
    }
    let word = fold(word);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (distance(&word, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()).div_ceil(3).min(4))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment: two letters that changed places count once.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let width = right.len() + 1;
    let mut table = vec![0; (left.len() + 1) * width];
    for i in 0..=left.len() {
        for j in 0..=right.len() {
            table[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = usize::from(left[i - 1] != right[j - 1]);
                let mut best = (table[(i - 1) * width + j] + 1)
                    .min(table[i * width + j - 1] + 1)
                    .min(table[(i - 1) * width + j - 1] + changed);
                if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                    best = best.min(table[(i - 2) * width + j - 2] + 1);
                }
                best
            };
        }
    }
    table[left.len() * width + right.len()]
}

fn fold(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

/// `name` in the end of a sentence about a word that is not known, or nothing.
pub(super) fn sentence(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("did you mean {name:?}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_word() {
        assert_eq!(nearest("ordres", ["orders", "invoices"]), Some("orders"));
        assert_eq!(nearest("key-file", ["certificate_file", "key_file"]), Some("key_file"));
        assert_eq!(nearest("Listener", ["listeners"]), Some("listeners"));
    }

    #[test]
    fn a_different_word_finds_nothing() {
        assert_eq!(nearest("banana", ["orders", "invoices"]), None);
        assert_eq!(nearest(&"x".repeat(5000), ["orders"]), None);
    }
}
