//! Where a Markdown text has code and tables.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// The parts of a text in which a mark means something else than in a sentence.
#[derive(Debug, Default)]
pub struct Structure {
    /// Inline code and code blocks, in bytes of the text.
    code: Vec<Range<usize>>,
    /// Tables, in bytes of the text.
    tables: Vec<Range<usize>>,
    /// Code blocks, in order.
    pub blocks: Vec<Block>,
    /// The first byte of every heading, in order.
    pub headings: Vec<usize>,
}

/// A code block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its bytes in the text, fences included.
    pub range: Range<usize>,
    /// What follows the opening fence. `None` for a block made by indenting.
    pub info: Option<String>,
    /// The code, without the indentation of a list or the `>` of a quote that it stands in.
    pub code: String,
}

impl Structure {
    /// Parses `text` as mdBook does.
    pub fn of(text: &str) -> Self {
        let (mut structure, mut in_block) = (Self::default(), false);
        for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
            match event {
                Event::Code(_) => structure.code.push(range),
                Event::Start(Tag::Table(_)) => structure.tables.push(range),
                Event::Start(Tag::CodeBlock(kind)) => {
                    structure.code.push(range.clone());
                    structure.blocks.push(Block { range, info: info(&kind), code: String::new() });
                    in_block = true;
                }
                Event::Text(text) if in_block => {
                    structure.blocks.last_mut().expect("inside a block").code.push_str(&text);
                }
                Event::Start(Tag::Heading { .. }) => structure.headings.push(range.start),
                Event::End(TagEnd::CodeBlock) => in_block = false,
                _ => {}
            }
        }
        structure
    }

    /// Whether the byte lies in code, where text is shown as it is.
    pub fn is_code(&self, byte: usize) -> bool {
        self.code.iter().any(|range| range.contains(&byte))
    }

    /// Whether the byte lies in a table, where a bar ends the cell.
    pub fn is_table(&self, byte: usize) -> bool {
        self.tables.iter().any(|range| range.contains(&byte))
    }
}

impl Block {
    /// Whether the block is Rust that rustdoc would compile. Ask only after the lint, which makes
    /// every block name its language first.
    pub fn is_rust(&self) -> bool {
        self.words().first() == Some(&"rust")
    }

    /// Whether rustdoc compiles the block.
    pub fn is_tested(&self) -> bool {
        self.is_rust() && !self.is_ignored()
    }

    /// Whether rustdoc is told to leave the block alone.
    pub fn is_ignored(&self) -> bool {
        self.words().contains(&"ignore")
    }

    /// The words of the info string: `rust,no_run` has two.
    pub fn words(&self) -> Vec<&str> {
        let info = self.info.as_deref().unwrap_or_default();
        info.split([',', ' ', '\t']).filter(|word| !word.is_empty()).collect()
    }
}

fn info(kind: &CodeBlockKind) -> Option<String> {
    match kind {
        CodeBlockKind::Indented => None,
        CodeBlockKind::Fenced(info) => Some(info.trim().to_owned()),
    }
}

/// The extensions that mdBook 0.5 has on.
fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_SMART_PUNCTUATION
        | Options::ENABLE_DEFINITION_LIST
        | Options::ENABLE_GFM
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_tables_are_found_where_they_are() {
        let text = "a `b` c\n\n| x |\n|---|\n| y |\n\n```rust,no_run\nz\n```\n";
        let structure = Structure::of(text);
        let at = |part: &str| text.find(part).unwrap();
        assert!(structure.is_code(at("b`")) && !structure.is_code(at("c")));
        assert!(structure.is_table(at("y")) && !structure.is_table(at("z")));
        assert!(structure.is_code(at("z")));
        assert_eq!(structure.blocks[0].words(), ["rust", "no_run"]);
        assert!(structure.blocks[0].is_rust() && !structure.blocks[0].is_ignored());
    }

    #[test]
    fn a_block_in_a_list_with_windows_line_ends_is_a_fence_too() {
        let structure = Structure::of("1. step\r\n\r\n   ```console\r\n   $ ls\r\n   ```\r\n");
        assert_eq!(structure.blocks.len(), 1);
        assert_eq!(structure.blocks[0].words(), ["console"]);
        assert_eq!(structure.blocks[0].code, "$ ls\n");
    }

    #[test]
    fn an_indented_block_has_no_info() {
        assert_eq!(Structure::of("a\n\n    b\n").blocks[0].info, None);
    }
}
