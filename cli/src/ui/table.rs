//! A plain text table, and numbers as people read them.

use std::time::Duration;

/// Rows under a header, in columns as wide as their widest cell.
pub fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
    let mut text = line(&mut header.iter().copied());
    text += &line(&mut rule.iter().map(String::as_str));
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

/// Three figures and a unit.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (value, unit) = match seconds {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s => (s * 1e6, "us"),
    };
    let decimals = match value {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// A size in bytes with a binary unit; exact where a unit divides it.
pub fn bytes(size: u64) -> String {
    const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match UNITS.iter().find(|(_, shift)| size >= 1 << shift) {
        Some((unit, shift)) if size.is_multiple_of(1 << shift) => format!("{} {unit}", size >> shift),
        Some((unit, shift)) => format!("{:.1} {unit}", size as f64 / f64::from(1_u32 << shift)),
        None => format!("{size} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let text = render(&["a", "long"], &[vec!["wide cell".into(), "1".into()], vec!["x".into(), "2".into()]]);
        assert_eq!(text, "a          long\n---------  ----\nwide cell  1\nx          2\n");
    }

    #[test]
    fn numbers_have_units() {
        assert_eq!(duration(Duration::from_micros(1500)), "1.50 ms");
        assert_eq!(duration(Duration::from_nanos(12_340)), "12.3 us");
        assert_eq!((bytes(128 << 20), bytes(12)), ("128 MiB".into(), "12 B".into()));
        assert_eq!(bytes((2 << 30) - 4), "2.0 GiB");
    }
}
