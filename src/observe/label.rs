//! Names and texts of the user's, made fit to be drawn.

/// The text without what would disturb a terminal or a picture: control characters, and those that change the direction of
/// writing, become U+FFFD.
pub(super) fn printable(text: &str) -> String {
    let shown = |character: char| match character {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' => {
            '\u{fffd}'
        }
        '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        control if control.is_control() => '\u{fffd}',
        other => other,
    };
    text.chars().map(shown).collect()
}

/// The text, at most `most` characters of it: what is cut off at the end becomes an ellipsis.
pub(super) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept = text.chars().take(most.saturating_sub(1));
    kept.chain((most > 0).then_some('…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_and_what_does_not_ends_in_an_ellipsis() {
        for (most, shown) in [
            (0, ""),
            (1, "…"),
            (2, "o…"),
            (5, "orde…"),
            (6, "orders"),
            (7, "orders"),
        ] {
            assert_eq!(shortened("orders", most), shown, "{most}");
        }
        assert_eq!(shortened("", 0), "");
        assert_eq!(shortened("äöü", 2), "ä…");
    }

    #[test]
    fn control_characters_and_changes_of_direction_are_replaced() {
        assert_eq!(
            printable("a\u{1b}[31m\n\0b\u{7f}\u{85}"),
            "a\u{fffd}[31m\u{fffd}\u{fffd}b\u{fffd}\u{fffd}"
        );
        assert_eq!(
            printable("\u{202e}gnp.exe\u{2066}\u{61c}"),
            "\u{fffd}gnp.exe\u{fffd}\u{fffd}"
        );
        assert_eq!(printable("é 中 👍"), "é 中 👍");
    }
}
