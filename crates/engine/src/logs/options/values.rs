//! Values as Docker's daemon reads them, and refuses them in Go's words.

/// Digits of a fraction that are looked at.
const FRACTION_DIGITS: usize = 12;

/// Go's `strconv.ParseBool`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

/// `10m`, `1.5g`, `100kb` in powers of 1000: how the sizes of log files are given.
pub(super) fn decimal_size(text: &str) -> Result<u64, String> {
    size(text, 1000)
}

/// The same in powers of 1024: how memory is given.
pub(super) fn byte_count(text: &str) -> Result<u64, String> {
    size(text, 1024)
}

/// Go's `strconv.ParseUint` of 32 bits.
pub(super) fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("strconv.ParseUint: parsing {text:?}: invalid syntax"))
}

/// Go's `time.ParseDuration`, in milliseconds.
pub(super) fn duration_ms(text: &str) -> Result<u32, String> {
    let wrong = || format!("time: invalid duration {text:?}");
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut total_ns = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let unit_ns = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(wrong()),
        };
        total_ns += number.parse::<f64>().map_err(|_| wrong())? * unit_ns;
        rest = tail;
    }
    let total_ms = total_ns / 1e6;
    if text.is_empty() || !(0.0..=f64::from(u32::MAX)).contains(&total_ms) {
        return Err(wrong());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was just checked")]
    Ok(total_ms as u32)
}

fn size(text: &str, base: u128) -> Result<u64, String> {
    let wrong = || format!("invalid size: '{text}'");
    let lower = text.trim().to_ascii_lowercase();
    let split = lower.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(split);
    let unit = unit.trim();
    let power = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(unit) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(wrong()),
    };
    let scale = base.pow(power);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // A thousandth of a byte matters to nobody: the first digits of the fraction are enough.
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS)];
    let parsed = |digits: &str| digits.parse::<u128>().ok().filter(|_| !digits.starts_with('+'));
    let (whole, part) = parsed(whole).zip(parsed(fraction)).ok_or_else(wrong)?;
    let divisor = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| wrong())?);
    let bytes = whole.checked_mul(scale).and_then(|bytes| bytes.checked_add(part * scale / divisor));
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_for_files_and_binary_for_memory() {
        for (text, decimal, binary) in [
            ("5", 5, 5),
            ("10m", 10_000_000, 10 << 20),
            ("1.5k", 1500, 1536),
            ("100KB", 100_000, 100 << 10),
            ("2 gb", 2_000_000_000, 2 << 30),
        ] {
            assert_eq!(decimal_size(text), Ok(decimal), "{text}");
            assert_eq!(byte_count(text), Ok(binary), "{text}");
        }
        for text in ["", "m", "10x", "-1", "1.x", "99999999999999t"] {
            assert_eq!(decimal_size(text), Err(format!("invalid size: '{text}'")));
        }
    }

    #[test]
    fn durations_are_gos() {
        for (text, want) in
            [("1s", Some(1000)), ("1m0.5s", Some(60_500)), ("250ms", Some(250)), ("0", Some(0))]
        {
            assert_eq!(duration_ms(text).ok(), want, "{text}");
        }
        for text in ["", "1", "s", "1x", "-1s", "9999999h"] {
            assert_eq!(duration_ms(text), Err(format!("time: invalid duration {text:?}")));
        }
    }
}
