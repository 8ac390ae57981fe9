//! The path and query of a request, with every name escaped.

use hyper::Uri;

/// A request's target, built piece by piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    text: String,
    has_query: bool,
}

impl Path {
    /// A path that is literal.
    pub(crate) fn new(path: &str) -> Path {
        Path { text: path.to_owned(), has_query: false }
    }

    /// `/{noun}/{name}{rest}`, whatever characters `name` has. Slashes stay, because image names have them.
    pub(crate) fn of(noun: &str, name: &str, rest: &str) -> Path {
        let mut text = format!("/{noun}/");
        escape(&mut text, name, b"/:");
        Path { text: text + rest, has_query: false }
    }

    /// Adds a parameter.
    pub(crate) fn query(mut self, key: &str, value: &str) -> Path {
        self.text.push(if std::mem::replace(&mut self.has_query, true) { '&' } else { '?' });
        self.text += key;
        self.text.push('=');
        escape(&mut self.text, value, b"");
        self
    }

    /// Adds a parameter if there is a value for it.
    pub(crate) fn query_if(self, key: &str, value: Option<&str>) -> Path {
        match value {
            Some(value) => self.query(key, value),
            None => self,
        }
    }

    pub(crate) fn into_uri(self) -> Uri {
        self.text.parse().expect("everything but unreserved characters is escaped")
    }
}

fn escape(out: &mut String, text: &str, kept: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
            out.push(byte.into());
        } else {
            out.push('%');
            out.push(DIGITS[usize::from(byte >> 4)].into());
            out.push(DIGITS[usize::from(byte & 15)].into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Path;
    use proptest::prelude::*;

    #[test]
    fn names_are_escaped_and_images_keep_their_slashes() {
        let path = Path::of("images", "a.b:5/x y?z", "/json")
            .query("q", "a&b/c")
            .query_if("n", None)
            .query("e", "%");
        assert_eq!(path.text, "/images/a.b:5/x%20y%3Fz/json?q=a%26b%2Fc&e=%25");
        assert_eq!(Path::new("/info").query_if("x", Some("")).text, "/info?x=");
    }

    proptest! {
        #[test]
        fn any_name_makes_a_valid_target(name in "\\PC*", value in "\\PC*") {
            Path::of("containers", &name, "/json").query("x", &value).into_uri();
        }
    }
}
