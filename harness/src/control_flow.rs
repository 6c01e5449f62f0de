//! What a block of statements does to the control flow after it, for the checks of uniform control flow:
//! `tests/text/uniform.rs` walks naga's modules, and `tests/text/metal` the text that naga makes of them.

/// What a block does to the flow after it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leaves {
    /// Some invocations may have left the function.
    pub function: bool,
    /// Some invocations may have left the loop around the block.
    pub of_loop: bool,
    /// Some invocations may be through with this turn of the loop.
    pub turn: bool,
}

impl Leaves {
    /// Whether some invocations go another way.
    pub fn any(self) -> bool {
        self.function || self.of_loop || self.turn
    }

    /// What one block after the other does.
    pub fn and(self, other: Self) -> Self {
        Self {
            function: self.function || other.function,
            of_loop: self.of_loop || other.of_loop,
            turn: self.turn || other.turn,
        }
    }
}
