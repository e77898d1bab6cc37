//! W4A16: int4 weights in groups of 128, packed for the tensor core, and the kernel's loops on a
//! CPU.
//!
//! A *tile* is 16 output channels by one group of 128 inputs. Its 2,048 codes are 256 words of
//! eight codes. Lane `l` of a warp owns the four words at `(half * 32 + l) * 4` of each half of 64
//! inputs: one load of 16 bytes a lane, 512 consecutive bytes a warp. Word `s` holds what the lane
//! feeds to step `s` of `mma.m16n8k16`. `src/kernels/w4a16.cu` is the same arithmetic on a GPU.

use half::bf16;

/// Inputs that share a scale.
pub const GROUP: usize = 128;
/// Output channels of a tile.
pub const TILE: usize = 16;
/// 32-bit words of a packed tile.
pub const TILE_WORDS: usize = 256;
/// 32-bit words that hold the scales of a tile: 16 scales of 16 bits.
pub const TILE_SCALES: usize = 8;

/// Why a weight cannot be packed or multiplied.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PackError {
    /// The inputs do not divide into groups.
    #[error(
        "in_features {0} is no multiple of the group size {GROUP}: real engines refuse such a \
         layer too; keep it in 16 bits or choose a group size that divides it"
    )]
    RaggedGroup(usize),
    /// The buffer has another size than the shape says.
    #[error("{what} has {have} values and the shape says {want}")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Values it has.
        have: usize,
        /// Values it must have.
        want: usize,
    },
}

/// A packed weight, `[out_features, in_features]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    /// Output channels, any number.
    pub out_features: usize,
    /// Inputs, a multiple of [`GROUP`].
    pub in_features: usize,
    /// `[tiles, groups, 256]` words of eight codes.
    pub words: Vec<u32>,
    /// `[tiles, groups, 8]` words: the bf16 scales of channels `r` (low) and `r + 8` (high).
    pub scales: Vec<u32>,
}

/// Which weight of a tile sits in nibble `nibble` of word `word`: `(channel 0..16, input 0..128)`.
pub fn position(word: usize, nibble: usize) -> (usize, usize) {
    let (half, lane, step) = (word >> 7, (word >> 2) & 31, word & 3);
    let (register, upper) = (nibble % 4, nibble / 4);
    let channel = (lane >> 2) + 8 * (register & 1);
    (channel, half * 64 + (lane & 3) * 16 + step * 4 + 2 * (register >> 1) + upper)
}

/// The scale of a group whose largest |w| is `absmax`: `absmax / 7` in bf16, 1 for a group of
/// zeros.
pub fn group_scale(absmax: f32) -> bf16 {
    let scale = bf16::from_f32(absmax / 7.0);
    if scale.to_bits() == 0 { bf16::ONE } else { scale }
}

/// The code, 0 to 15, of `value`: 8 is zero.
pub fn code(value: f32, scale: bf16) -> u32 {
    ((value / scale.to_f32()).round_ties_even().clamp(-8.0, 7.0) + 8.0) as u32
}

/// Quantizes and packs `weights`, row-major `[out_features, in_features]`.
///
/// # Errors
/// If the inputs do not divide into groups or the buffer has another size.
pub fn pack(weights: &[f32], out_features: usize, in_features: usize) -> Result<Packed, PackError> {
    if !in_features.is_multiple_of(GROUP) {
        return Err(PackError::RaggedGroup(in_features));
    }
    check_length("the weight", weights.len(), out_features * in_features)?;
    let (tiles, groups) = (out_features.div_ceil(TILE), in_features / GROUP);
    let mut packed = Packed { out_features, in_features, words: Vec::new(), scales: Vec::new() };
    for tile in 0..tiles {
        for group in 0..groups {
            pack_tile(&mut packed, tile, group, weights);
        }
    }
    Ok(packed)
}

fn pack_tile(packed: &mut Packed, tile: usize, group: usize, weights: &[f32]) {
    let (out_features, in_features) = (packed.out_features, packed.in_features);
    let row = |r: usize| -> &[f32] {
        // Padding is 0, and gets the code of zero.
        if tile * TILE + r >= out_features {
            return &[0.0; GROUP];
        }
        &weights[(tile * TILE + r) * in_features + group * GROUP..][..GROUP]
    };
    let absmax = |r: usize| row(r).iter().fold(0.0f32, |m, w| m.max(w.abs()));
    let scales: Vec<bf16> = (0..TILE).map(|r| group_scale(absmax(r))).collect();
    let pair = |r: usize| u32::from(scales[r].to_bits()) | u32::from(scales[r + 8].to_bits()) << 16;
    packed.scales.extend((0..TILE_SCALES).map(pair));
    packed.words.extend((0..TILE_WORDS).map(|word| {
        (0..8).fold(0, |bits, nibble| {
            let (channel, input) = position(word, nibble);
            bits | code(row(channel)[input], scales[channel]) << (4 * nibble)
        })
    }));
}

/// The bf16 scale of `channel` (0 to 15) in the scales of its tile.
pub fn scale_of(tile_scales: &[u32], channel: usize) -> f32 {
    let bits = tile_scales[channel % 8] >> (16 * (channel / 8));
    bf16::from_bits(bits as u16).to_f32()
}

/// Channel `channel` (0 to 15) of a row of tiles, dequantized: `groups * 128` values
/// `(code - 8) * scale`. `words` and `scales` are those of one tile row, `[groups, 256]` and
/// `[groups, 8]`.
pub fn unpack_channel(words: &[u32], scales: &[u32], channel: usize) -> Vec<f32> {
    let groups = words.len() / TILE_WORDS;
    let mut row = vec![0.0; groups * GROUP];
    for group in 0..groups {
        let scale = scale_of(&scales[group * TILE_SCALES..], channel);
        for (at, word) in words[group * TILE_WORDS..][..TILE_WORDS].iter().enumerate() {
            for nibble in 0..8 {
                let (owner, input) = position(at, nibble);
                if owner == channel {
                    let code = (word >> (4 * nibble)) & 15;
                    row[group * GROUP + input] = (code as f32 - 8.0) * scale;
                }
            }
        }
    }
    row
}

/// How the kernel cuts up a product: tiles a block, warps a block, tokens a tensor-core column
/// block (8 each), groups loaded ahead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// Tiles of 16 channels a block owns.
    pub tiles: usize,
    /// Warps that split the groups.
    pub warps: usize,
    /// Blocks of 8 tokens.
    pub token_blocks: usize,
    /// Groups that are loaded before they are needed.
    pub depth: usize,
}

/// `x @ w.T` by the kernel's own loops, lane by lane: `x` is `[tokens, in_features]`, the result
/// `[tokens, out_features]` before it is rounded to bf16.
///
/// # Errors
/// If `x` has another size than `tokens * in_features`.
pub fn kernel_model(
    packed: &Packed,
    x: &[f32],
    tokens: usize,
    cut: Cut,
) -> Result<Vec<f32>, PackError> {
    check_length("x", x.len(), tokens * packed.in_features)?;
    let mut y = vec![f32::NAN; tokens * packed.out_features];
    let tiles = packed.out_features.div_ceil(TILE);
    for block in 0..tiles.div_ceil(cut.tiles) {
        let size = cut.tiles * cut.token_blocks * 128;
        let sums: Vec<Vec<f32>> =
            (0..cut.warps).map(|warp| warp_sums(packed, x, tokens, cut, block, warp)).collect();
        for e in 0..size {
            // In the order of the warps, because the kernel adds them so and f32 sums depend on the order.
            let sum: f32 = sums.iter().fold(0.0, |sum, of_warp| sum + of_warp[e]);
            let channel = (block * cut.tiles + e / (cut.token_blocks * 128)) * 16 + (e & 15);
            let token = (e / 128) % cut.token_blocks * 8 + ((e >> 4) & 7);
            if channel < packed.out_features && token < tokens {
                y[token * packed.out_features + channel] = sum;
            }
        }
    }
    Ok(y)
}

/// The partial sums of one warp, `[tiles, token_blocks, 8 tokens, 16 channels]`.
fn warp_sums(
    packed: &Packed,
    x: &[f32],
    tokens: usize,
    cut: Cut,
    block: usize,
    warp: usize,
) -> Vec<f32> {
    let groups = packed.in_features / GROUP;
    let tiles = packed.out_features.div_ceil(TILE);
    let mut sums = vec![0.0; cut.tiles * cut.token_blocks * 128];
    for group in groups_of_warp(warp, groups, cut) {
        for r in 0..cut.tiles {
            // As in the kernel, a tile past the end reads the last tile again, and its sums are dropped.
            let first = (block * cut.tiles + r).min(tiles - 1) * groups;
            for t in 0..cut.token_blocks {
                let partial = tile_product(packed, first + group, x, tokens, t, group);
                let at = &mut sums[(r * cut.token_blocks + t) * 128..][..128];
                let scales = &packed.scales[(first + group) * TILE_SCALES..][..TILE_SCALES];
                for (e, sum) in at.iter_mut().enumerate() {
                    *sum += scale_of(scales, e & 15) * partial[e & 15][e >> 4];
                }
            }
        }
    }
    sums
}

/// The order in which a warp meets its groups: the kernel's two loops, `break` included.
fn groups_of_warp(warp: usize, groups: usize, cut: Cut) -> Vec<usize> {
    let mut order = Vec::new();
    let mut base = warp;
    while base < groups {
        for d in 0..cut.depth {
            let group = base + d * cut.warps;
            // The number of groups need not be a multiple of `warps * depth`.
            if group >= groups {
                break;
            }
            order.push(group);
        }
        base += cut.depth * cut.warps;
    }
    order
}

/// One tile times 8 tokens: eight steps of `mma.m16n8k16`, registers gathered as the lanes hold
/// them. `[16 channels][8 tokens]`, without the scales.
fn tile_product(
    packed: &Packed,
    tile: usize,
    x: &[f32],
    tokens: usize,
    t: usize,
    group: usize,
) -> [[f32; 8]; 16] {
    let mut d = [[0.0f32; 8]; 16];
    for half in 0..2 {
        for step in 0..4 {
            let (mut a, mut b) = ([[0.0f32; 16]; 16], [[0.0f32; 8]; 16]);
            for lane in 0..32 {
                let (row, quad) = (lane >> 2, lane & 3);
                let word = packed.words[tile * TILE_WORDS + half * 128 + lane * 4 + step];
                // PTX ISA, m16n8k16: a0 and a2 are row `row`, a1 and a3 row `row + 8`; a0 and a1
                // are columns 2 * quad and the next, a2 and a3 the same plus 8.
                for register in 0..4 {
                    for upper in 0..2 {
                        let nibble = (word >> (4 * register + 16 * upper)) & 15;
                        let column = quad * 2 + upper + 8 * (register >> 1);
                        a[row + 8 * (register & 1)][column] = nibble as f32 - 8.0;
                    }
                }
                let token = t * 8 + row;
                let at = token * packed.in_features + group * GROUP + half * 64 + quad * 16;
                for register in 0..2 {
                    for upper in 0..2 {
                        let value = if token < tokens {
                            x[at + 2 * (2 * step + register) + upper]
                        } else {
                            0.0
                        };
                        b[quad * 2 + upper + 8 * register][row] = value;
                    }
                }
            }
            for (sums, weights) in d.iter_mut().zip(&a) {
                for (token, sum) in sums.iter_mut().enumerate() {
                    *sum += weights.iter().zip(&b).map(|(w, k)| w * k[token]).sum::<f32>();
                }
            }
        }
    }
    d
}

fn check_length(what: &'static str, have: usize, want: usize) -> Result<(), PackError> {
    if have == want { Ok(()) } else { Err(PackError::Length { what, have, want }) }
}
