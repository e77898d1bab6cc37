//! The W4A16 kernel's packing and loops, run on a CPU and held to the plain product.

use measure::gpu::hash::Hash;
use measure::gpu::pack::{
    Cut, GROUP, PackError, Packed, TILE, TILE_SCALES, TILE_WORDS, group_scale, kernel_model, pack,
    position, unpack_channel,
};

fn random(seed: u32, count: usize) -> Vec<f32> {
    (0..count as u64).map(|i| Hash { seed, sigma: 1.0 }.value(i)).collect()
}

/// `round(w / scale)` without packing, straight from the definition.
fn fake_quantized(weights: &[f32], in_features: usize) -> Vec<f32> {
    let groups = weights.chunks(in_features).flat_map(|row| row.chunks(GROUP));
    groups
        .flat_map(|group| {
            let scale = group_scale(group.iter().fold(0.0f32, |m, w| m.max(w.abs()))).to_f32();
            group.iter().map(move |w| (w / scale).round_ties_even().clamp(-8.0, 7.0) * scale)
        })
        .collect()
}

fn unpacked(packed: &Packed) -> Vec<f32> {
    let groups = packed.in_features / GROUP;
    (0..packed.out_features)
        .flat_map(|channel| {
            let tile = channel / TILE * groups;
            let words = &packed.words[tile * TILE_WORDS..][..groups * TILE_WORDS];
            let scales = &packed.scales[tile * TILE_SCALES..][..groups * TILE_SCALES];
            unpack_channel(words, scales, channel % TILE)
        })
        .collect()
}

fn naive(w: &[f32], x: &[f32], in_features: usize) -> Vec<f64> {
    x.chunks(in_features)
        .flat_map(|token| {
            w.chunks(in_features).map(move |channel| {
                channel.iter().zip(token).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
            })
        })
        .collect()
}

#[test]
fn every_weight_of_a_tile_has_exactly_one_place() {
    let mut seen = [[0; GROUP]; TILE];
    for word in 0..TILE_WORDS {
        for nibble in 0..8 {
            let (channel, input) = position(word, nibble);
            seen[channel][input] += 1;
        }
    }
    assert!(seen.iter().flatten().all(|&count| count == 1));
}

#[test]
fn packing_loses_nothing_but_the_rounding() -> Result<(), PackError> {
    for (out_features, in_features) in [(16, 128), (48, 384), (20, 256), (1, 128)] {
        let weights = random(3, out_features * in_features);
        let packed = pack(&weights, out_features, in_features)?;
        assert_eq!(unpacked(&packed), fake_quantized(&weights, in_features), "{out_features}");
    }
    Ok(())
}

#[test]
fn the_kernels_loops_give_the_plain_product() -> Result<(), PackError> {
    // Aligned; channels that end inside a tile; groups that do not divide among the warps; token
    // counts that do not fill a block of 8; more tiles a block than there are.
    let shapes = [(64, 512, 8), (20, 384, 3), (50, 1152, 16), (16, 128, 1), (130, 896, 11)];
    for (out_features, in_features, tokens) in shapes {
        let weights = random(5, out_features * in_features);
        let x = random(6, tokens * in_features);
        let packed = pack(&weights, out_features, in_features)?;
        let expected = naive(&unpacked(&packed), &x, in_features);
        let norm = expected.iter().map(|v| v * v).sum::<f64>().sqrt();
        for (tiles, depth) in [(1, 4), (2, 2), (4, 1)] {
            for warps in [2, 4, 8, 16] {
                let cut = Cut { tiles, warps, token_blocks: tokens.div_ceil(8), depth };
                let y = kernel_model(&packed, &x, tokens, cut)?;
                let error = y.iter().zip(&expected).map(|(&a, b)| (f64::from(a) - b).powi(2));
                let error = error.sum::<f64>().sqrt() / norm;
                // f32 sums of at most 1,152 terms: far under 1,152 half units of 2^-24.
                let bound = 1152.0 * 2f64.powi(-24);
                assert!(
                    error <= bound,
                    "{out_features}x{in_features}, {tokens} tokens, {cut:?}: {error:e}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn a_group_of_zeros_stays_zero() -> Result<(), PackError> {
    let packed = pack(&vec![0.0; 16 * 128], 16, 128)?;
    assert!(packed.words.iter().all(|&word| word == 0x8888_8888));
    assert!(unpacked(&packed).iter().all(|&w| w == 0.0));
    Ok(())
}

#[test]
fn a_width_that_has_no_whole_groups_is_refused_as_engines_do() {
    let error = pack(&vec![0.0; 16 * 576], 16, 576).unwrap_err();
    assert_eq!(error, PackError::RaggedGroup(576));
    assert!(error.to_string().contains("576 is no multiple of the group size 128"), "{error}");
    assert!(pack(&[0.0; 3], 16, 128).is_err());
}
