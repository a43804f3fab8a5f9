//! Which of the allowed words somebody may have meant.

/// Words longer than this are not compared: nobody mistypes a name of 64 characters into one of
/// ours, and the comparison's cost grows with the length.
const WORD_MAX: usize = 64;

/// The allowed word nearest to `word`, if one is near.
pub(super) fn nearest<'a>(word: &str, allowed: &[&'a str]) -> Option<&'a str> {
    if word.chars().count() > WORD_MAX {
        return None;
    }
    let plain = plain(word);
    allowed
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&plain, &self::plain(candidate)), *candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How to mend a word that is not allowed here.
pub(super) fn mend(word: &str, allowed: &[&str]) -> String {
    match (nearest(word, allowed), allowed) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => "remove it".to_owned(),
        (None, [only]) => format!("`{only}` is the only one here"),
        (None, several) => format!("allowed here: `{}`", several.join("`, `")),
    }
}

/// Case and separators are what people most often get wrong.
fn plain(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_near_and_nothing_else() {
        let allowed = ["maxStepPercent", "slowStart", "type"];
        assert_eq!(nearest("maxSteppercent", &allowed), Some("maxStepPercent"));
        assert_eq!(nearest("slow_start", &allowed), Some("slowStart"));
        assert_eq!(nearest("tpye", &allowed), Some("type"));
        assert_eq!(nearest("colour", &allowed), None);
        assert_eq!(nearest(&"type".repeat(100), &allowed), None);
    }
}
