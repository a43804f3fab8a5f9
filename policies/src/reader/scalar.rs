//! What a plain word of YAML means: the core schema of YAML 1.2.
//!
//! So `yes`, `on` and `12:30` are text, as they look, and not what YAML 1.1 made of them.

/// A scalar's meaning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    /// Nothing: `key:`, `~`, `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Whole(i128),
    /// Another finite number.
    Fraction(f64),
    /// `.inf`, `.nan`, or a number past what can be held.
    NotFinite,
    /// Anything else.
    Text(&'a str),
}

/// The meaning of an unquoted scalar.
pub(crate) fn resolve(text: &str) -> Scalar<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Scalar::NotFinite;
    }
    whole(text).or_else(|| fraction(text, unsigned)).unwrap_or(Scalar::Text(text))
}

fn whole(text: &str) -> Option<Scalar<'_>> {
    let (digits, radix) = match text.get(..2) {
        Some("0x") => (text.get(2..)?, 16),
        Some("0o") => (text.get(2..)?, 8),
        _ => (text, 10),
    };
    if radix != 10 && digits.starts_with(['-', '+']) {
        return None;
    }
    i128::from_str_radix(digits, radix).ok().map(Scalar::Whole)
}

fn fraction<'a>(text: &'a str, unsigned: &str) -> Option<Scalar<'a>> {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_holds = match mantissa.split_once('.') {
        Some((before, after)) => {
            (digits(before) && (after.is_empty() || digits(after)))
                || (before.is_empty() && digits(after))
        }
        None => digits(mantissa),
    };
    let exponent_holds = exponent
        .is_none_or(|exponent| digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)));
    if !mantissa_holds || !exponent_holds {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    Some(if number.is_finite() { Scalar::Fraction(number) } else { Scalar::NotFinite })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_they_look_like() {
        for (text, meaning) in [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("true", Scalar::Bool(true)),
            ("FALSE", Scalar::Bool(false)),
            ("yes", Scalar::Text("yes")),
            ("12:30", Scalar::Text("12:30")),
            ("1_000", Scalar::Text("1_000")),
            ("-7", Scalar::Whole(-7)),
            ("+7", Scalar::Whole(7)),
            ("007", Scalar::Whole(7)),
            ("0x1F", Scalar::Whole(31)),
            ("0x-1", Scalar::Text("0x-1")),
            ("0o17", Scalar::Whole(15)),
            ("1.5", Scalar::Fraction(1.5)),
            (".5", Scalar::Fraction(0.5)),
            ("5.", Scalar::Fraction(5.0)),
            ("1e3", Scalar::Fraction(1000.0)),
            ("-1.5E-1", Scalar::Fraction(-0.15)),
            (".", Scalar::Text(".")),
            ("1e", Scalar::Text("1e")),
            ("e1", Scalar::Text("e1")),
            ("inf", Scalar::Text("inf")),
            ("-.inf", Scalar::NotFinite),
            (".nan", Scalar::NotFinite),
            ("1e999", Scalar::NotFinite),
            ("-", Scalar::Text("-")),
            ("é1", Scalar::Text("é1")),
        ] {
            assert_eq!(resolve(text), meaning, "{text:?}");
        }
    }
}
