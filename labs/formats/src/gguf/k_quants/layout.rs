//! Which bits of a block belong to which weight.

use half::f16;

use crate::gguf::TensorType;

/// Weights of the largest block.
pub const MOST: usize = 256;
/// Weights of the largest sub-block.
pub const MOST_IN_SUB: usize = 32;
/// Sub-blocks of a block, at most.
pub const MOST_SUBS: usize = 16;

/// Some of the bits of every code, packed.
///
/// A *stripe* is so many bytes, and their lowest bits belong to as many neighbours. The next neighbours have
/// the next bits of the same bytes. When all bits are taken, the next stripe begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    /// Bits of a code in this plane.
    pub bits: usize,
    /// Bytes of a stripe.
    pub stripe: usize,
}

impl Plane {
    /// The byte of weight `index`, and the bit of the byte where its bits begin.
    pub fn place(self, index: usize) -> (usize, usize) {
        let per_byte = 8 / self.bits;
        let (stripe, part) = (index / self.stripe / per_byte, index / self.stripe % per_byte);
        (stripe * self.stripe + index % self.stripe, part * self.bits)
    }

    /// Bytes for so many weights.
    pub fn bytes(self, weights: usize) -> usize {
        weights * self.bits / 8
    }

    fn mask(self) -> u8 {
        (1 << self.bits) - 1
    }
}

/// How the scales of sub-blocks are packed, and their minima where there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subs {
    /// A byte each: the scale in the low, the minimum in the high nibble.
    Nibbles,
    /// Eight scales and eight minima of 6 bits in 12 bytes. The first four have the low six bits of a byte of
    /// their own. The others have their low four bits in the last four bytes, and their high two bits above
    /// the bits of the first four.
    SixBitPairs,
    /// Sixteen scales of 6 bits in 12 bytes, from -32 to 31 and stored plus 32: low nibbles in eight bytes,
    /// high bits in four.
    SixBitSigned,
    /// A byte each, two's complement.
    Bytes,
}

/// A part of a block, in file order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The `f16` that scales are multiples of, or the scale itself.
    Scale,
    /// The `f16` that minima are multiples of, or the minimum itself.
    Minimum,
    /// Scales and minima of the sub-blocks.
    Subs(Subs),
    /// The low bits of the codes.
    Low(Plane),
    /// The bits above.
    High(Plane),
}

/// The parts of a block.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The type.
    pub kind: TensorType,
    /// Weights of a block.
    pub weights: usize,
    /// Weights of a sub-block; those of the block where there is one scale.
    pub sub: usize,
    /// The parts.
    pub fields: &'static [Field],
}

const fn plane(bits: usize, stripe: usize) -> Plane {
    Plane { bits, stripe }
}

const HALVES: Field = Field::Low(plane(4, 16));
const HIGH_OF_32: Field = Field::High(plane(1, 1));
const FOUR_BITS: Field = Field::Low(plane(4, 32));
const TWO_BITS: Field = Field::Low(plane(2, 32));
const ONE_MORE: Field = Field::High(plane(1, 32));

/// Every block that is read and written here (`ggml-common.h`).
pub const ALL: [Layout; 10] = [
    Layout { kind: TensorType::Q4_0, weights: 32, sub: 32, fields: &[Field::Scale, HALVES] },
    Layout {
        kind: TensorType::Q4_1,
        weights: 32,
        sub: 32,
        fields: &[Field::Scale, Field::Minimum, HALVES],
    },
    Layout {
        kind: TensorType::Q5_0,
        weights: 32,
        sub: 32,
        fields: &[Field::Scale, HIGH_OF_32, HALVES],
    },
    Layout {
        kind: TensorType::Q5_1,
        weights: 32,
        sub: 32,
        fields: &[Field::Scale, Field::Minimum, HIGH_OF_32, HALVES],
    },
    Layout { kind: TensorType::IQ4_NL, weights: 32, sub: 32, fields: &[Field::Scale, HALVES] },
    Layout {
        kind: TensorType::Q2_K,
        weights: 256,
        sub: 16,
        fields: &[Field::Subs(Subs::Nibbles), TWO_BITS, Field::Scale, Field::Minimum],
    },
    Layout {
        kind: TensorType::Q3_K,
        weights: 256,
        sub: 16,
        fields: &[ONE_MORE, TWO_BITS, Field::Subs(Subs::SixBitSigned), Field::Scale],
    },
    Layout {
        kind: TensorType::Q4_K,
        weights: 256,
        sub: 32,
        fields: &[Field::Scale, Field::Minimum, Field::Subs(Subs::SixBitPairs), FOUR_BITS],
    },
    Layout {
        kind: TensorType::Q5_K,
        weights: 256,
        sub: 32,
        fields: &[
            Field::Scale,
            Field::Minimum,
            Field::Subs(Subs::SixBitPairs),
            ONE_MORE,
            FOUR_BITS,
        ],
    },
    Layout {
        kind: TensorType::Q6_K,
        weights: 256,
        sub: 16,
        fields: &[
            Field::Low(plane(4, 64)),
            Field::High(plane(2, 32)),
            Field::Subs(Subs::Bytes),
            Field::Scale,
        ],
    },
];

/// A block with its bits taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The scale, or what scales are multiples of.
    pub scale: f16,
    /// The minimum, or what minima are multiples of.
    pub minimum: f16,
    /// The scale of each sub-block, in multiples.
    pub scales: [i8; MOST_SUBS],
    /// The minimum of each sub-block, in multiples.
    pub minima: [u8; MOST_SUBS],
    /// The codes, from 0 on.
    pub codes: [u8; MOST],
}

impl Default for Block {
    fn default() -> Self {
        Self {
            scale: f16::ZERO,
            minimum: f16::ZERO,
            scales: [0; MOST_SUBS],
            minima: [0; MOST_SUBS],
            codes: [0; MOST],
        }
    }
}

impl Layout {
    /// The layout of a type; `None` for a type that has another module, or is not decoded.
    pub fn of(kind: TensorType) -> Option<&'static Self> {
        ALL.iter().find(|layout| layout.kind == kind)
    }

    /// Sub-blocks of a block.
    pub fn subs(&self) -> usize {
        self.weights / self.sub
    }

    /// Bytes of a part.
    pub fn bytes_of(&self, field: Field) -> usize {
        match field {
            Field::Scale | Field::Minimum => 2,
            Field::Subs(Subs::Nibbles | Subs::Bytes) => self.subs(),
            Field::Subs(Subs::SixBitPairs | Subs::SixBitSigned) => 12,
            Field::Low(plane) | Field::High(plane) => plane.bytes(self.weights),
        }
    }

    /// Bytes of a block.
    pub fn bytes(&self) -> usize {
        self.fields.iter().map(|&field| self.bytes_of(field)).sum()
    }

    /// Appends the bytes of `block`.
    pub(in crate::gguf) fn write(&self, block: &Block, bytes: &mut Vec<u8>) {
        let low_bits = self.low_bits();
        for &field in self.fields {
            match field {
                Field::Scale => bytes.extend(block.scale.to_le_bytes()),
                Field::Minimum => bytes.extend(block.minimum.to_le_bytes()),
                Field::Subs(subs) => pack_subs(subs, self.subs(), block, bytes),
                Field::Low(plane) => self.pack(plane, 0, block, bytes),
                Field::High(plane) => self.pack(plane, low_bits, block, bytes),
            }
        }
    }

    /// Bits of a code in its low plane.
    fn low_bits(&self) -> usize {
        let low =
            |field: &Field| if let Field::Low(plane) = field { Some(plane.bits) } else { None };
        self.fields.iter().find_map(low).unwrap_or(0)
    }

    /// Appends the bits of all codes from bit `from` on.
    fn pack(&self, plane: Plane, from: usize, block: &Block, bytes: &mut Vec<u8>) {
        let begin = bytes.len();
        bytes.resize(begin + plane.bytes(self.weights), 0);
        let codes = block.codes.chunks_exact(plane.stripe * (8 / plane.bits));
        // The loops below go along a stripe, and a stripe of one byte would leave them one step each.
        if plane.stripe == 1 {
            for (byte, codes) in bytes[begin..].iter_mut().zip(codes) {
                let joined = |byte, code| byte << plane.bits | code >> from & plane.mask();
                *byte = codes.iter().rev().fold(0, joined);
            }
            return;
        }
        for (stripe, codes) in bytes[begin..].chunks_exact_mut(plane.stripe).zip(codes) {
            for (part, codes) in codes.chunks_exact(plane.stripe).enumerate() {
                let bit = part * plane.bits;
                for (byte, code) in stripe.iter_mut().zip(codes) {
                    *byte |= (code >> from & plane.mask()) << bit;
                }
            }
        }
    }

    /// The block in `bytes`, which are as many as a block has.
    pub(in crate::gguf) fn read(&self, bytes: &[u8]) -> Block {
        let (mut block, mut rest) = (Block::default(), bytes);
        for &field in self.fields {
            let (part, behind) = rest.split_at(self.bytes_of(field));
            rest = behind;
            match field {
                Field::Scale => block.scale = f16::from_le_bytes([part[0], part[1]]),
                Field::Minimum => block.minimum = f16::from_le_bytes([part[0], part[1]]),
                Field::Subs(subs) => unpack_subs(subs, part, &mut block),
                Field::Low(plane) => self.unpack(plane, 0, part, &mut block),
                Field::High(plane) => self.unpack(plane, self.low_bits(), part, &mut block),
            }
        }
        block
    }

    fn unpack(&self, plane: Plane, from: usize, part: &[u8], block: &mut Block) {
        let codes = block.codes.chunks_exact_mut(plane.stripe * (8 / plane.bits));
        // As in `pack`.
        if plane.stripe == 1 {
            for (byte, codes) in part.iter().zip(codes) {
                let places = codes.iter_mut().enumerate();
                places.for_each(|(at, code)| {
                    *code |= (byte >> (at * plane.bits) & plane.mask()) << from;
                });
            }
            return;
        }
        for (stripe, codes) in part.chunks_exact(plane.stripe).zip(codes) {
            for (part, codes) in codes.chunks_exact_mut(plane.stripe).enumerate() {
                let bit = part * plane.bits;
                for (code, byte) in codes.iter_mut().zip(stripe) {
                    *code |= (byte >> bit & plane.mask()) << from;
                }
            }
        }
    }
}

/// Appends scales and minima of the sub-blocks.
fn pack_subs(subs: Subs, count: usize, block: &Block, bytes: &mut Vec<u8>) {
    let scale = |index: usize| block.scales[index].cast_unsigned();
    let minimum = |index: usize| block.minima[index];
    match subs {
        Subs::Bytes => bytes.extend((0..count).map(scale)),
        Subs::Nibbles => bytes.extend((0..count).map(|sub| scale(sub) | minimum(sub) << 4)),
        Subs::SixBitPairs => {
            let with_high = |low: u8, of_later: u8| low | of_later >> 4 << 6;
            bytes.extend((0..4).map(|sub| with_high(scale(sub), scale(sub + 4))));
            bytes.extend((0..4).map(|sub| with_high(minimum(sub), minimum(sub + 4))));
            bytes.extend((4..8).map(|sub| scale(sub) & 15 | (minimum(sub) & 15) << 4));
        }
        Subs::SixBitSigned => {
            let stored = |sub: usize| (block.scales[sub] + 32).cast_unsigned();
            bytes.extend((0..8).map(|sub| stored(sub) & 15 | (stored(sub + 8) & 15) << 4));
            let high = |sub: usize| stored(sub) >> 4;
            let parts = |sub: usize| (0..4).map(move |part| high(sub + 4 * part) << (2 * part));
            bytes.extend((0..4).map(|sub| parts(sub).fold(0, |byte, part| byte | part)));
        }
    }
}

/// The inverse of [`pack_subs`].
fn unpack_subs(subs: Subs, part: &[u8], block: &mut Block) {
    for sub in 0..MOST_SUBS {
        let (scale, minimum) = match subs {
            Subs::Bytes => (part[sub].cast_signed(), 0),
            Subs::Nibbles => ((part[sub] & 15).cast_signed(), part[sub] >> 4),
            Subs::SixBitPairs if sub < 4 => ((part[sub] & 63).cast_signed(), part[sub + 4] & 63),
            Subs::SixBitPairs if sub < 8 => {
                let low = part[sub + 4];
                let (scale, minimum) =
                    (low & 15 | part[sub - 4] >> 6 << 4, low >> 4 | part[sub] >> 6 << 4);
                (scale.cast_signed(), minimum)
            }
            Subs::SixBitPairs => break,
            Subs::SixBitSigned => {
                let low = if sub < 8 { part[sub] & 15 } else { part[sub - 8] >> 4 };
                let high = part[8 + sub % 4] >> (2 * (sub / 4)) & 3;
                ((low | high << 4).cast_signed() - 32, 0)
            }
        };
        (block.scales[sub], block.minima[sub]) = (scale, minimum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_has_as_many_bytes_as_the_list_of_types_says() {
        for layout in &ALL {
            let listed = layout.kind.block();
            assert_eq!(listed, Some((layout.weights, layout.bytes())), "{}", layout.kind);
            assert_eq!(layout.kind.group(), Some(layout.sub as u64), "{}", layout.kind);
        }
    }

    #[test]
    fn the_place_of_a_weight_is_where_its_bits_are_packed() {
        for layout in &ALL {
            let mut from = 0;
            for &field in layout.fields {
                let bytes = layout.bytes_of(field);
                if let Field::Low(plane) | Field::High(plane) = field {
                    let first = if matches!(field, Field::Low(_)) { 0 } else { layout.low_bits() };
                    for index in 0..layout.weights {
                        let mut block = Block::default();
                        block.codes[index] = 1 << first;
                        let mut packed = Vec::new();
                        layout.write(&block, &mut packed);
                        let (byte, bit) = plane.place(index);
                        assert_eq!(
                            packed[from + byte],
                            1 << bit,
                            "{}: weight {index}",
                            layout.kind
                        );
                    }
                }
                from += bytes;
            }
        }
    }

    #[test]
    fn bytes_that_are_read_and_written_are_the_same_bytes() {
        for layout in &ALL {
            for seed in 0..64_usize {
                let byte = |at: usize| (at * (2 * seed + 167) + at / 7 + seed) as u8;
                let bytes: Vec<u8> = (0..layout.bytes()).map(byte).collect();
                let mut back = Vec::new();
                layout.write(&layout.read(&bytes), &mut back);
                assert_eq!(back, bytes, "{}", layout.kind);
            }
        }
    }
}
