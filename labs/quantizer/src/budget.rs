//! Types of blocks within a budget: the matrices that the model minds most get the larger types.
//!
//! Each matrix by itself is one convex problem: of all types only those count that no mixture of two others beats.
//! Going from the smallest type of each matrix, the step that saves the most divergence for a byte is taken first,
//! until the budget is spent. The steps of a matrix save less and less for a byte, so the order of all steps is
//! also the order in each matrix, and no other choice of the same size has a smaller sum. (The sum takes it that
//! the divergences of rounded matrices add up, which is a model of the model.)

use std::collections::BTreeMap;

use formats::gguf::TensorType;

/// What a matrix costs in each type.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// The name of the weight.
    pub name: String,
    /// How many weights it has.
    pub weights: u64,
    /// The types that fit its rows.
    pub choices: Vec<Choice>,
}

/// A type of a matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The type.
    pub kind: TensorType,
    /// Bytes of the matrix.
    pub bytes: u64,
    /// The divergence of the model in which this matrix alone has the type, in nats a token.
    pub divergence: f64,
}

/// The type of each matrix, by the names of the weights, where `bits` is what a weight may cost on average; `None`
/// if the smallest types cost more.
pub fn within(matrices: &[Matrix], bits: f64) -> Option<BTreeMap<String, TensorType>> {
    let hulls: Vec<Vec<Choice>> = matrices.iter().map(|matrix| hull(&matrix.choices)).collect();
    let weights: u64 = matrices.iter().map(|matrix| matrix.weights).sum();
    let smallest: u64 = hulls.iter().map(|hull| hull.first().map_or(0, |of| of.bytes)).sum();
    let mut left = bits / 8.0 * weights as f64 - smallest as f64;
    if left < 0.0 || hulls.iter().any(Vec::is_empty) {
        return None;
    }
    let mut at = vec![0; hulls.len()];
    let steps = hulls.iter().enumerate().flat_map(|(matrix, hull)| {
        hull.windows(2).map(move |pair| (matrix, pair[1].bytes - pair[0].bytes, slope(pair)))
    });
    let mut steps: Vec<_> = steps.collect();
    // ANCHOR: steps
    // Stable, so that of two equal steps the first matrix is served first.
    steps.sort_by(|a, b| b.2.total_cmp(&a.2));
    let mut done = vec![false; hulls.len()];
    for (matrix, bytes, _) in steps {
        // A step that does not fit ends its matrix, because the next one would have to jump over it.
        if done[matrix] || bytes as f64 > left {
            done[matrix] = true;
            continue;
        }
        left -= bytes as f64;
        at[matrix] += 1;
    }
    // ANCHOR_END: steps
    let chosen = matrices.iter().zip(hulls).zip(at);
    Some(chosen.map(|((matrix, hull), at)| (matrix.name.clone(), hull[at].kind)).collect())
}

/// The bits of a weight when each matrix has its smallest type.
pub fn least_bits(matrices: &[Matrix]) -> f64 {
    let least = |matrix: &Matrix| matrix.choices.iter().map(|of| of.bytes).min().unwrap_or(0);
    let (bytes, weights) = matrices
        .iter()
        .fold((0, 0), |(bytes, weights), matrix| (bytes + least(matrix), weights + matrix.weights));
    8.0 * bytes as f64 / weights as f64
}

/// The divergence that a byte saves, from one type to the next.
fn slope(pair: &[Choice]) -> f64 {
    (pair[0].divergence - pair[1].divergence) / (pair[1].bytes - pair[0].bytes) as f64
}

/// The types that no mixture of others beats, from the smallest on.
fn hull(choices: &[Choice]) -> Vec<Choice> {
    let mut sorted = choices.to_vec();
    sorted.sort_by(|a, b| a.bytes.cmp(&b.bytes).then(a.divergence.total_cmp(&b.divergence)));
    let mut hull: Vec<Choice> = Vec::new();
    for choice in sorted {
        if hull.last().is_some_and(|last| choice.divergence >= last.divergence) {
            continue;
        }
        while let [.., before, last] = hull[..]
            && slope(&[before, last]) <= slope(&[last, choice])
        {
            hull.pop();
        }
        hull.push(choice);
    }
    hull
}

#[cfg(test)]
mod tests {
    use super::*;
    use TensorType::{Q4_0, Q5_0, Q6_K, Q8_0};

    fn matrix(name: &str, divergences: [f64; 3]) -> Matrix {
        let choices = [(Q4_0, 450), (Q5_0, 550), (Q8_0, 850)].into_iter().zip(divergences);
        let choices = choices.map(|((kind, bytes), divergence)| Choice { kind, bytes, divergence });
        Matrix { name: name.into(), weights: 800, choices: choices.collect() }
    }

    fn of(matrices: &[Matrix], bits: f64) -> Option<Vec<TensorType>> {
        within(matrices, bits).map(|of| of.into_values().collect())
    }

    #[test]
    fn the_matrix_that_the_model_minds_most_gets_more_bits_and_the_budget_is_kept() {
        let two = [matrix("a", [0.1, 0.05, 0.01]), matrix("b", [1.0, 0.5, 0.1])];
        assert_eq!(of(&two, 4.4), None);
        assert_eq!(of(&two, 4.5), Some(vec![Q4_0, Q4_0]));
        assert_eq!(of(&two, 5.0), Some(vec![Q4_0, Q5_0]));
        assert_eq!(of(&two, 6.5), Some(vec![Q4_0, Q8_0]));
        assert_eq!(of(&two, 8.5), Some(vec![Q8_0, Q8_0]));
    }

    #[test]
    fn every_choice_is_the_best_of_its_size() {
        let many: Vec<Matrix> = (0..6_i32)
            .map(|at| {
                let of = 1.0 / f64::from(at * at + 1);
                matrix(&format!("{at}"), [of, of / f64::from(at + 2), of / 40.0])
            })
            .collect();
        let cost = |kinds: &[usize]| -> (u64, f64) {
            let chosen = many.iter().zip(kinds).map(|(of, &kind)| of.choices[kind]);
            chosen.fold((0, 0.0), |(bytes, sum), of| (bytes + of.bytes, sum + of.divergence))
        };
        for tenths in 45..=85 {
            let chosen = of(&many, f64::from(tenths) / 10.0).expect("the budget is enough");
            let places: Vec<usize> = chosen
                .iter()
                .map(|kind| {
                    many[0].choices.iter().position(|of| of.kind == *kind).expect("it is one")
                })
                .collect();
            let (bytes, sum) = cost(&places);
            for at in 0..3_usize.pow(6) {
                let other: Vec<usize> = (0..6).map(|digit| at / 3_usize.pow(digit) % 3).collect();
                let (other_bytes, other_sum) = cost(&other);
                assert!(
                    other_bytes > bytes || other_sum >= sum - 1e-12,
                    "{tenths}: {other:?} is better"
                );
            }
        }
    }

    #[test]
    fn a_type_that_others_beat_is_never_chosen() {
        let mut odd = matrix("a", [1.0, 0.9, 0.0]);
        odd.choices.push(Choice { kind: Q6_K, bytes: 900, divergence: 0.5 });
        for tenths in 45..=90 {
            let kinds = of(std::slice::from_ref(&odd), f64::from(tenths) / 10.0);
            let kinds = kinds.expect("the budget is enough");
            assert!(kinds == [Q4_0] || kinds == [Q8_0], "{tenths}: {kinds:?}");
        }
    }
}
