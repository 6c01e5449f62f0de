//! What a block of statements does to the control flow after it: for `uniform`, which walks naga's modules, and for
//! `metal`, which walks the text that naga makes of them.

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
    pub fn any(self) -> bool {
        self.function || self.of_loop || self.turn
    }

    pub fn and(self, other: Self) -> Self {
        Self {
            function: self.function || other.function,
            of_loop: self.of_loop || other.of_loop,
            turn: self.turn || other.turn,
        }
    }
}
