//! How configs name modules: in full, by class, by regular expression, by a piece of the name.

use regex::Regex;

/// One entry of a list of modules.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    /// Every module: the class `Linear`, as far as a file can tell.
    All,
    /// The module of this name, and those inside it.
    Name,
    /// Modules whose name starts with a match.
    Expression(Regex),
    /// Modules with this text anywhere in their name.
    Piece,
}

impl Pattern {
    /// Every module.
    pub(super) fn all() -> Self {
        Self { text: "*".into(), matcher: Matcher::All }
    }

    /// compressed-tensors: `re:` and an expression, a class, or a name.
    ///
    /// # Errors
    /// The expression, if it cannot be read.
    pub(super) fn compressed(text: &str) -> Result<Self, String> {
        let matcher = match text.strip_prefix("re:") {
            Some(expression) => Matcher::Expression(compile(expression)?),
            None if text == "Linear" => Matcher::All,
            None => Matcher::Name,
        };
        Ok(Self { text: text.into(), matcher })
    }

    /// transformers: any piece of the name.
    pub(super) fn piece(text: &str) -> Self {
        Self { text: text.into(), matcher: Matcher::Piece }
    }

    /// ModelOpt: a name in which `*` stands for anything. A match covers the modules inside it, because
    /// ModelOpt names a whole layer where it leaves one alone.
    ///
    /// # Errors
    /// The pattern, if it is too long to compile.
    pub(super) fn wildcard(text: &str) -> Result<Self, String> {
        let expression = regex::escape(text).replace(r"\*", ".*");
        let matcher = Matcher::Expression(compile(&format!("{expression}(\\.|$)"))?);
        Ok(Self { text: text.into(), matcher })
    }

    /// The entry as the config writes it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it names `module`.
    pub(super) fn matches(&self, module: &str) -> bool {
        match &self.matcher {
            Matcher::All => true,
            Matcher::Name => module == self.text || is_inside(module, &self.text),
            Matcher::Expression(expression) => expression.is_match(module),
            Matcher::Piece => module.contains(&self.text),
        }
    }
}

fn is_inside(module: &str, outer: &str) -> bool {
    module.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'))
}

/// Anchored at the start, as Python's `re.match` is.
fn compile(expression: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?:{expression})")).map_err(|_| expression.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_names_modules_in_its_own_way() -> Result<(), String> {
        let module = "model.layers.3.mlp.up_proj";
        for (pattern, matches) in [
            (Pattern::compressed("Linear")?, true),
            (Pattern::compressed("model.layers.3")?, true),
            (Pattern::compressed("model.layers.30")?, false),
            (Pattern::compressed("re:.*up_proj$")?, true),
            (Pattern::compressed("re:up_proj")?, false),
            (Pattern::piece("mlp"), true),
            (Pattern::wildcard("model.layers.3*")?, true),
            (Pattern::wildcard("lm_head")?, false),
        ] {
            assert_eq!(pattern.matches(module), matches, "{}", pattern.text());
        }
        Ok(())
    }

    #[test]
    fn an_expression_that_cannot_be_read_is_handed_back() {
        assert_eq!(Pattern::compressed("re:(?!x)").unwrap_err(), "(?!x)");
    }
}
