//! What the benchmarks share: medians and quartiles.
#![forbid(unsafe_code)]

/// The `quarter`th quartile of sorted values; 0 of none.
pub fn quantile(sorted: &[f64], quarter: usize) -> f64 {
    sorted.get(sorted.len() * quarter / 4).or(sorted.last()).copied().unwrap_or_default()
}

/// The middle one; 0 of none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(values, 2)
}
