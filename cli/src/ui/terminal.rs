//! The terminal: how wide it is, and text that is wrapped to fit it.

use console::Term;
use textwrap::{Options, WordSplitter};

/// The width where it is not known, as in a pipe.
const DEFAULT_WIDTH: usize = 100;

/// Characters in a line of standard output.
pub fn width() -> usize {
    Term::stdout().size_checked().map_or(DEFAULT_WIDTH, |(_, columns)| usize::from(columns).max(20))
}

/// Paragraphs, each in lines that fit, with a line break at the end. Lines after the first of a paragraph are indented
/// as the first is.
pub fn wrap(text: &str) -> String {
    let fill = |line: &str| {
        let indent = &line[..line.len() - line.trim_start().len()];
        // Paths stay whole, so that they can be copied.
        let options = Options::new(width()).break_words(false).word_splitter(WordSplitter::NoHyphenation);
        let options = options.initial_indent(indent).subsequent_indent(indent);
        textwrap::fill(line.trim_start(), options) + "\n"
    };
    text.lines().map(fill).collect()
}
