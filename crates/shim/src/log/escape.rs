//! Text as a JSON string, with the escapes of Go's encoder, so that Docker's readers get what Docker would have written.

/// Characters that Go escapes because JavaScript takes them for line ends.
const LINE_SEPARATORS: [char; 2] = ['\u{2028}', '\u{2029}'];

/// Appends `text` to `output`; each byte that is not UTF-8 becomes U+FFFD.
pub(super) fn escape(output: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid();
        let mut copied = 0;
        for (position, character) in valid.char_indices().filter(|(_, character)| is_escaped(*character)) {
            output.extend_from_slice(&valid.as_bytes()[copied..position]);
            match character {
                '"' => output.extend_from_slice(b"\\\""),
                '\\' => output.extend_from_slice(b"\\\\"),
                '\n' => output.extend_from_slice(b"\\n"),
                '\r' => output.extend_from_slice(b"\\r"),
                '\t' => output.extend_from_slice(b"\\t"),
                other => output.extend_from_slice(format!("\\u{:04x}", u32::from(other)).as_bytes()),
            }
            copied = position + character.len_utf8();
        }
        output.extend_from_slice(&valid.as_bytes()[copied..]);
        for _ in chunk.invalid() {
            output.extend_from_slice(b"\\ufffd");
        }
    }
}

fn is_escaped(character: char) -> bool {
    matches!(character, '\0'..='\u{1f}' | '"' | '\\' | '<' | '>' | '&')
        || LINE_SEPARATORS.contains(&character)
}

#[cfg(test)]
mod tests {
    use super::escape;

    fn escaped(text: &[u8]) -> String {
        let mut output = Vec::new();
        escape(&mut output, text);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn escapes_are_gos() {
        let cases: [(&[u8], &str); 9] = [
            (b"plain", "plain"),
            (b"a\"b\\c", "a\\\"b\\\\c"),
            (b"\r\n\t", "\\r\\n\\t"),
            (b"\x00\x1b[0m\x7f", "\\u0000\\u001b[0m\x7f"),
            (b"<&>", "\\u003c\\u0026\\u003e"),
            ("ä€😀".as_bytes(), "ä€😀"),
            ("\u{2028}\u{2029}".as_bytes(), "\\u2028\\u2029"),
            (b"\xff\xfe!", "\\ufffd\\ufffd!"),
            // A sequence that is cut off is as many bad bytes as it has.
            (b"\xe2\x82", "\\ufffd\\ufffd"),
        ];
        for (text, expected) in cases {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn every_byte_makes_valid_json() {
        let all: Vec<u8> = (0..=255).collect();
        let back: String = serde_json::from_str(&format!("\"{}\"", escaped(&all))).unwrap();
        assert_eq!(back.chars().take(128).collect::<String>().into_bytes(), (0..128).collect::<Vec<u8>>());
        assert_eq!(back.chars().skip(128).filter(|c| *c == '\u{fffd}').count(), 128);
    }
}
