//! A word of the vocabulary and its statements: an entry of the grammar.

/// A thing that a card can state. The order is the one in which contradictions are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// A layout that fixes grid and granularity: `Q4_K`, `NF4`.
    Layout,
    /// Bits of a weight's code.
    WeightBits,
    /// Integers, floats or indices into a table: `int`, `float`, `table`, `mixed`.
    WeightKind,
    /// The weights that share a scale: `tensor`, `channel`, a number of neighbours, `128x128`.
    Group,
    /// Whether the grid is symmetric: `yes`, `no`.
    Symmetric,
    /// Bits of an activation when the layer multiplies.
    ActBits,
    /// As [`Self::WeightKind`], of the activations.
    ActKind,
    /// Whether the activations' scale is `static` (in the file) or `dynamic` (found at run time).
    ActWhen,
    /// The activations that share a scale: `tensor`, `token`, a number of neighbours.
    ActGroup,
    /// How keys and values are kept.
    Kv,
    /// Whether the rows were quantized in the order of their activations: `yes`, `no`.
    Order,
    /// The tool or the rule that chose the codes.
    Method,
    /// Mean bits of a weight, where no single number of bits is true.
    Mean,
    /// The overhead, where scale and zero point do not say it: `bits@group`, separated by spaces.
    Overhead,
    /// Bits of a scale.
    ScaleBits,
    /// Bits of a stored zero point, 0 for none.
    ZeroBits,
    /// Bits of the matrices outside the experts, where only experts are as the card says.
    Rest,
}

impl Field {
    /// Every field, in order.
    pub const ALL: [Self; 17] = [
        Self::Layout,
        Self::WeightBits,
        Self::WeightKind,
        Self::Group,
        Self::Symmetric,
        Self::ActBits,
        Self::ActKind,
        Self::ActWhen,
        Self::ActGroup,
        Self::Kv,
        Self::Order,
        Self::Method,
        Self::Mean,
        Self::Overhead,
        Self::ScaleBits,
        Self::ZeroBits,
        Self::Rest,
    ];

    /// What it is called in a message.
    pub fn label(self) -> &'static str {
        match self {
            Self::WeightBits => "bits of a weight",
            Self::WeightKind => "kind of grid",
            Self::Group => "weights that share a scale",
            Self::Symmetric => "symmetric",
            Self::ActBits => "bits of an activation",
            Self::ActKind => "kind of grid of the activations",
            Self::ActWhen => "scale of the activations",
            Self::ActGroup => "activations that share a scale",
            Self::Kv => "KV cache",
            Self::Order => "act-order",
            Self::Method => "method",
            Self::Layout => "layout",
            Self::Mean => "mean bits of a weight",
            Self::Overhead => "stored beside the codes",
            Self::ScaleBits => "bits of a scale",
            Self::ZeroBits => "bits of a zero point",
            Self::Rest => "bits outside the experts",
        }
    }
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
    /// A note, or an empty text.
    pub note: String,
    /// The missing part, if the word says nothing alone; or an empty text.
    pub needs: String,
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
        self.says.extend(owned(facts));
        self
    }

    pub(super) fn usual(mut self, facts: &[(Field, &str)]) -> Self {
        self.usual.extend(owned(facts));
        self
    }

    pub(super) fn open(mut self, field: Field, sentence: &str) -> Self {
        self.open.push((field, sentence.into()));
        self
    }

    pub(super) fn note(mut self, sentence: &str) -> Self {
        self.note = sentence.into();
        self
    }

    pub(super) fn needs(mut self, what: &str) -> Self {
        self.needs = what.into();
        self
    }

    pub(super) fn card_only(mut self) -> Self {
        self.card_only = true;
        self
    }

    pub(super) fn computes(mut self) -> Self {
        self.computes = true;
        self
    }

    pub(super) fn one_piece(mut self) -> Self {
        self.one_piece = true;
        self
    }
}

fn owned<'a>(facts: &'a [(Field, &str)]) -> impl Iterator<Item = Fact> + 'a {
    facts.iter().map(|&(field, value)| (field, value.to_owned()))
}
