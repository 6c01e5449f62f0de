//! Stored rows in bulk.

use super::Engine;

impl Engine {
    /// Forgets all rows but the first `rows`.
    pub fn truncate(&mut self, rows: usize) {
        self.windows.truncate(rows);
        self.squares.truncate(rows);
    }
}
