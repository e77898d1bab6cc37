//! A word of the vocabulary and its statements: an entry of the grammar.

/// Declares [`Field`]: of each variant its name in `vocabulary.txt`, and what it is called in a message.
macro_rules! fields {
    ($($(#[doc = $doc:literal])+ $field:ident, $name:literal, $label:literal;)+) => {
        /// A thing that a card can state. The order is the one in which contradictions are looked for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Field { $($(#[doc = $doc])+ $field,)+ }

        impl Field {
            /// Every field, in order.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$field),+];

            /// What it is called in a message.
            pub fn label(self) -> &'static str {
                match self { $(Self::$field => $label,)+ }
            }

            /// The field that `vocabulary.txt` calls `name`.
            pub(super) fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$field),)+ _ => None }
            }
        }
    };
}

fields! {
    /// A layout that fixes grid and granularity: `Q4_K`, `NF4`.
    Layout, "layout", "layout";
    /// Bits of a weight's code.
    WeightBits, "bits", "bits of a weight";
    /// Integers, floats or indices into a table: `int`, `float`, `table`, `mixed`.
    WeightKind, "kind", "kind of grid";
    /// The weights that share a scale: `tensor`, `channel`, a number of neighbours, `128x128`.
    Group, "group", "weights that share a scale";
    /// Whether the grid is symmetric: `yes`, `no`.
    Symmetric, "sym", "symmetric";
    /// Bits of an activation when the layer multiplies.
    ActBits, "act", "bits of an activation";
    /// As [`Self::WeightKind`], of the activations.
    ActKind, "act-kind", "kind of grid of the activations";
    /// Whether the activations' scale is `static` (in the file) or `dynamic` (found at run time).
    ActWhen, "act-when", "scale of the activations";
    /// The activations that share a scale: `tensor`, `token`, a number of neighbours.
    ActGroup, "act-group", "activations that share a scale";
    /// How keys and values are kept.
    Kv, "kv", "KV cache";
    /// Whether the rows were quantized in the order of their activations: `yes`, `no`.
    Order, "order", "act-order";
    /// The tool or the rule that chose the codes.
    Method, "method", "method";
    /// Mean bits of a weight, where no single number of bits is true.
    Mean, "mean", "mean bits of a weight";
    /// The overhead, where scale and zero point do not say it: `bits@group`, separated by spaces.
    Overhead, "overhead", "stored beside the codes";
    /// Bits of a scale.
    ScaleBits, "scale", "bits of a scale";
    /// Bits of a stored zero point, 0 for none.
    ZeroBits, "zero", "bits of a zero point";
    /// Bits of the matrices outside the experts, where only experts are as the card says.
    Rest, "rest", "bits outside the experts";
}

/// A field and what a word says of it. In a value, `{w}` is the number that stood there.
pub type Fact = (Field, String);

/// A word of the grammar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Its tokens, a space between two. `{w}` is a number; `{g}` may be -1, `{d}` may have a point.
    pub pattern: String,
    /// The spelling that an error suggests.
    pub name: String,
    /// Its statements.
    pub says: Vec<Fact>,
    /// Its defaults, where no word states the field.
    pub usual: Vec<Fact>,
    /// The questions that it leaves open, where no word states the field.
    pub open: Vec<Fact>,
    /// A note.
    pub note: Option<String>,
    /// The missing part, if the word says nothing alone.
    pub needs: Option<String>,
    /// Too short or too common to be looked for in a model's name.
    pub card_only: bool,
    /// Read only where no space is inside it.
    pub one_piece: bool,
    /// A type without scales, which beside another scheme is what the layers compute in.
    pub computes: bool,
}

impl Word {
    /// A word that is written `name` and read as `pattern`.
    pub(super) fn new(name: &str, pattern: &str) -> Self {
        Self { pattern: pattern.into(), name: name.into(), ..Self::default() }
    }

    pub(super) fn says(mut self, facts: &[(Field, &str)]) -> Self {
        self.says.extend(facts.iter().map(|&(field, value)| (field, value.to_owned())));
        self
    }

    pub(super) fn open(mut self, field: Field, sentence: &str) -> Self {
        self.open.push((field, sentence.into()));
        self
    }

    pub(super) fn note(mut self, sentence: &str) -> Self {
        self.note = Some(sentence.into());
        self
    }
}
