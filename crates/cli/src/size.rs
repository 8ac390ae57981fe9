//! Sizes as people write and read them: Docker's grammar in (`512m`, `1.5GiB`), Docker's text out (`13.1MB`, `1.9GiB`).
//!
//! What is read is always binary (`1k` = 1024); what is written is decimal for images and disks, binary for memory.

pub(crate) use api::words::{binary, decimal, precise, spaced};

/// Why a text is not a size; the words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SizeError {
    #[error("invalid size: '{0}'")]
    Number(String),
    #[error("invalid suffix: '{0}'")]
    Suffix(String),
    #[error("size '{0}' is too large")]
    TooLarge(String),
}

/// Reads a size in bytes: a decimal number, an optional space, and `b` or one of `kmgtp` with `b` or `ib` after it.
pub(crate) fn parse(text: &str) -> Result<i64, SizeError> {
    let end = text
        .rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
        .ok_or_else(|| SizeError::Number(text.into()))?;
    let (number, suffix) = text.split_at(end + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let is_plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: f64 =
        number.parse().ok().filter(|_| is_plain).ok_or_else(|| SizeError::Number(text.into()))?;
    let factor = factor(suffix).ok_or_else(|| SizeError::Suffix(suffix.into()))?;
    let bytes = number * factor;
    // 2^63 is exact as a float, so everything below it fits.
    if bytes >= 9_223_372_036_854_775_808.0 {
        return Err(SizeError::TooLarge(text.into()));
    }
    #[expect(clippy::cast_possible_truncation, reason = "fractions of a byte are cut, as Docker does")]
    Ok(bytes as i64)
}

fn factor(suffix: &str) -> Option<f64> {
    let suffix = suffix.to_ascii_lowercase();
    let unit = suffix.strip_suffix("ib").or(suffix.strip_suffix('b')).unwrap_or(&suffix);
    let power = match unit {
        "" if suffix != "ib" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    Some(1024f64.powi(power))
}

#[cfg(test)]
mod tests {
    use super::{SizeError, parse};
    use proptest::prelude::*;

    #[test]
    fn sizes_read_as_docker_reads_them() {
        let cases: [(&str, i64); 14] = [
            ("0", 0),
            ("512", 512),
            ("512b", 512),
            ("512B", 512),
            ("32k", 32 << 10),
            ("32kb", 32 << 10),
            ("32KiB", 32 << 10),
            ("64m", 64 << 20),
            ("64 MB", 64 << 20),
            ("1.5g", 3 << 29),
            ("1gb", 1 << 30),
            ("2T", 2 << 40),
            ("1p", 1 << 50),
            (".5k", 512),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_dockers_words() {
        let cases = [
            ("", "invalid size: ''"),
            ("abc", "invalid size: 'abc'"),
            ("-1", "invalid size: '-1'"),
            ("1.2.3", "invalid size: '1.2.3'"),
            ("1e3", "invalid size: '1e3'"),
            ("inf", "invalid size: 'inf'"),
            ("32q", "invalid suffix: 'q'"),
            ("32ib", "invalid suffix: 'ib'"),
            ("32kbb", "invalid suffix: 'kbb'"),
            ("99999p", "size '99999p' is too large"),
        ];
        for (text, message) in cases {
            assert_eq!(parse(text).map_err(|error| error.to_string()), Err(message.to_owned()), "{text}");
        }
        assert_eq!(parse("8192p"), Err(SizeError::TooLarge("8192p".into())));
    }

    proptest! {
        #[test]
        fn no_text_panics_the_parser(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn every_number_of_bytes_is_read_back(bytes in 0i64..1 << 52) {
            prop_assert_eq!(parse(&bytes.to_string()), Ok(bytes));
            prop_assert_eq!(parse(&format!("{bytes}b")), Ok(bytes));
        }
    }
}
