//! Writing JSON (RFC 8259). What is written here is small, and read by others' parsers alone.

use std::fmt::Write as _;

/// Appends `text` as a JSON string: quotation marks, backslashes and control characters are escaped (section 7).
pub(crate) fn push_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        push_char(json, character);
    }
    json.push('"');
}

fn push_char(json: &mut String, character: char) {
    match character {
        '"' => json.push_str("\\\""),
        '\\' => json.push_str("\\\\"),
        '\n' => json.push_str("\\n"),
        '\r' => json.push_str("\\r"),
        '\t' => json.push_str("\\t"),
        control if control < ' ' => {
            // Writing to a string does not fail.
            let _ = write!(json, "\\u{:04x}", u32::from(control));
        }
        other => json.push(other),
    }
}

/// A JSON object that is being written: `{` at first, and `}` at the end.
pub(crate) struct Object<'a> {
    json: &'a mut String,
    is_empty: bool,
}

impl<'a> Object<'a> {
    pub(crate) fn begin(json: &'a mut String) -> Self {
        json.push('{');
        Self {
            json,
            is_empty: true,
        }
    }

    fn key(&mut self, key: &str) -> &mut String {
        if !std::mem::take(&mut self.is_empty) {
            self.json.push(',');
        }
        push_string(self.json, key);
        self.json.push(':');
        self.json
    }

    pub(crate) fn string(mut self, key: &str, value: &str) -> Self {
        push_string(self.key(key), value);
        self
    }

    /// A number, or another value whose `Display` is JSON already.
    pub(crate) fn raw(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        let _ = write!(self.key(key), "{value}");
        self
    }

    /// Nothing at all for `None`.
    pub(crate) fn maybe_string(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.string(key, value),
            None => self,
        }
    }

    pub(crate) fn maybe_raw(self, key: &str, value: Option<impl std::fmt::Display>) -> Self {
        match value {
            Some(value) => self.raw(key, value),
            None => self,
        }
    }

    /// `null` for `None`.
    pub(crate) fn or_null(self, key: &str, value: Option<impl std::fmt::Display>) -> Self {
        match value {
            Some(value) => self.raw(key, value),
            None => self.raw(key, "null"),
        }
    }

    /// A value that `write` appends.
    pub(crate) fn nested(mut self, key: &str, write: impl FnOnce(&mut String)) -> Self {
        write(self.key(key));
        self
    }

    pub(crate) fn end(self) {
        self.json.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_by_the_standard() {
        let mut json = String::new();
        push_string(&mut json, "a\"b\\c\n\r\t\u{0}\u{1f}\u{7f}é");
        assert_eq!(json, "\"a\\\"b\\\\c\\n\\r\\t\\u0000\\u001f\u{7f}é\"");
    }

    #[test]
    fn members_are_separated_and_absent_ones_are_left_out() {
        let mut json = String::new();
        Object::begin(&mut json)
            .raw("a", 1)
            .maybe_raw("b", None::<u8>)
            .maybe_string("c", None)
            .or_null("d", None::<u8>)
            .nested("e", |json| json.push_str("[]"))
            .end();
        assert_eq!(json, r#"{"a":1,"d":null,"e":[]}"#);
    }
}
