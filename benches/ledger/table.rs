//! The table: one line a measurement.

/// Begins a part that compares.
pub fn heading(what: &str, note: &str) {
    println!("\n{what:<56}{:>12}{:>12}{:>9}   {note}", "keyledger", "bare", "ratio");
}

/// Begins a part that only states.
pub fn heading_plain(what: &str) {
    println!("\n{what}");
}

/// One comparison: both medians, and how much of the bare loop's pace is left.
pub fn compare(what: &str, ours: &[f64], bare: &[f64], note: &str) {
    let (ours, bare) = (median(ours), median(bare));
    println!("{what:<56}{:>12}{:>12}{:>7} %   {note}", short(ours), short(bare), short(100.0 * ours / bare));
}

/// One figure that has no bare loop beside it.
pub fn figure(what: &str, value: f64, unit: &str) {
    println!("{what:<56}{:>12} {unit}", short(value));
}

/// The middle one, or the mean of the middle two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// A count as a number that can be divided.
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^52")]
pub fn real(count: u64) -> f64 {
    count as f64
}

/// Small ones with what stands behind the point.
fn short(value: f64) -> String {
    if value.abs() < 10.0 { fine(value) } else { grouped(value) }
}

/// To three digits.
fn fine(value: f64) -> String {
    if value.abs() < 0.1 { format!("{value:.4}") } else { format!("{value:.2}") }
}

/// Whole, with a comma before every third digit.
pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
