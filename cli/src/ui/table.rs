//! Tables that fit the terminal and are printed row by row, and numbers as people read them.

use std::time::Duration;

use comfy_table::{ColumnConstraint, ContentArrangement, Table as Lines, Width};

use super::terminal;

/// A column: its name, and between how many characters it is wide.
pub struct Column {
    name: &'static str,
    least: usize,
    most: usize,
}

impl Column {
    /// A column that is as wide whatever the terminal.
    pub const fn fixed(name: &'static str, width: usize) -> Self {
        Self { name, least: width, most: width }
    }

    /// A column that gets of the terminal's width what the others leave. Longer cells are wrapped.
    pub const fn flexible(name: &'static str, least: usize, most: usize) -> Self {
        Self { name, least, most }
    }
}

/// A table whose widths are known before its rows are.
pub struct Table {
    names: Vec<&'static str>,
    widths: Vec<usize>,
    gap: usize,
}

impl Table {
    /// For the terminal at hand.
    pub fn new(columns: &[Column]) -> Self {
        Self::fitting(columns, terminal::width())
    }

    /// In `width` characters, or in as few as the columns' least widths allow.
    fn fitting(columns: &[Column], width: usize) -> Self {
        let least: usize = columns.iter().map(|column| column.least).sum();
        let gaps = columns.len().saturating_sub(1);
        let gap = if least + 2 * gaps <= width { 2 } else { 1 };
        let mut spare = width.saturating_sub(least + gap * gaps);
        let mut widths: Vec<usize> = columns.iter().map(|column| column.least).collect();
        // One character at a time, so that flexible columns grow alike.
        while spare > 0 {
            let before = spare;
            for (width, column) in widths.iter_mut().zip(columns) {
                if spare > 0 && *width < column.most {
                    *width += 1;
                    spare -= 1;
                }
            }
            if spare == before {
                break;
            }
        }
        Self { names: columns.iter().map(|column| column.name).collect(), widths, gap }
    }

    /// The names of the columns, and a line below them.
    pub fn header(&self) -> String {
        let rule: Vec<String> = self.widths.iter().map(|width| "-".repeat(*width)).collect();
        self.row(&self.names) + rule.join(&" ".repeat(self.gap)).as_str() + "\n"
    }

    /// One row, of several lines where a cell is wider than its column.
    pub fn row(&self, cells: &[impl ToString]) -> String {
        let mut lines = Lines::new();
        lines.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        lines.add_row(cells.iter().map(ToString::to_string));
        for (place, (column, width)) in lines.column_iter_mut().zip(&self.widths).enumerate() {
            let padding = if place + 1 < self.widths.len() { self.gap } else { 0 };
            column.set_padding((0, padding as u16));
            let width = Width::Fixed((width + padding) as u16);
            column.set_constraint(ColumnConstraint::Absolute(width));
        }
        lines.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }
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

    const COLUMNS: [Column; 3] =
        [Column::flexible("a", 4, 8), Column::fixed("long", 4), Column::flexible("more", 4, 20)];

    #[test]
    fn columns_line_up() {
        let table = Table::fitting(&COLUMNS, 40);
        let text = table.header() + &table.row(&["a cell", "1", "x"]) + &table.row(&["b", "22", "y z"]);
        assert_eq!(
            text,
            "a         long  more\n--------  ----  --------------------\na cell    1     x\nb         22    y z\n"
        );
    }

    #[test]
    fn long_cells_are_wrapped_and_no_line_is_too_wide() {
        for width in [14, 16, 20, 25, 60] {
            let table = Table::fitting(&COLUMNS, width);
            let text = table.header() + &table.row(&["three words here", "1", "unbreakablyLong"]);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
            let words: String = text.split_whitespace().collect();
            assert!(words.contains("here") && words.contains("ng"), "nothing is cut off:\n{text}");
        }
    }

    #[test]
    fn numbers_have_units() {
        assert_eq!(duration(Duration::from_micros(1500)), "1.50 ms");
        assert_eq!(duration(Duration::from_nanos(12_340)), "12.3 us");
        assert_eq!((bytes(128 << 20), bytes(12)), ("128 MiB".into(), "12 B".into()));
        assert_eq!(bytes((2 << 30) - 4), "2.0 GiB");
    }
}
