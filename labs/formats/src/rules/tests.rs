use super::*;
use kit::data::normal_matrix;

#[test]
fn every_code_and_value_keeps_what_the_rule_promises() -> Result<(), RuleError> {
    for row in normal_matrix(31, 200, 32).rows() {
        let weights = row.to_vec();
        for rule in ALL {
            let encoded = rule.encode(&weights)?;
            assert_eq!(encoded.codes.len(), weights.len(), "{}", rule.name);
            assert_eq!(encoded.values.len(), weights.len(), "{}", rule.name);
            let outside = encoded.codes.iter().find(|code| !rule.codes.contains(code));
            assert_eq!(outside, None, "{} stores a code outside {:?}", rule.name, rule.codes);
        }
    }
    Ok(())
}

#[test]
fn no_weight_moves_by_more_than_the_rule_allows() -> Result<(), RuleError> {
    // Half a step where a rule rounds, also for max / 7.5, whose clip at 7 cuts 7.5 steps. A whole
    // step for Q4_0, whose other end may be at +8, and for a cast. f16 moves the scale by 2^-11, so
    // a value by at most 2 absmax / 2^11, and a minimum by absmax / 2^11: together below
    // absmax / 2^9, which leaves more than f32's own rounding needs.
    for row in normal_matrix(32, 200, 32).rows() {
        let weights = row.to_vec();
        for rule in ALL {
            let encoded = rule.encode(&weights)?;
            let steps = if matches!(rule.name, "GGML Q4_0" | "vLLM per group") { 1.0 } else { 0.5 };
            // The zero point of an asymmetric rule is rounded: the far end moves with it.
            let steps = if matches!(encoded.zero, Zero::Point(_)) && !rule.symmetric {
                steps + 0.5
            } else {
                steps
            };
            let step = encoded.scale.abs() * steps;
            let bound = step + absmax(&weights) * (2.0f32).powi(-9);
            for (index, (weight, value)) in weights.iter().zip(&encoded.values).enumerate() {
                let moved = (weight - value).abs();
                assert!(moved <= bound, "{} moves weight {index} by {moved} > {bound}", rule.name);
            }
        }
    }
    Ok(())
}

#[test]
fn what_cannot_be_encoded_is_refused_with_a_reason() {
    for rule in ALL {
        assert_eq!(rule.encode(&[]), Err(RuleError::Empty { rule: rule.name }));
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = rule.encode(&[1.0, value]).unwrap_err();
            assert!(matches!(error, RuleError::NotFinite { index: 1, .. }), "{error}");
        }
        let too_small = rule.encode(&[0.0, 1e-30]).unwrap_err();
        assert_eq!(too_small, RuleError::AbsmaxTooSmall { absmax: 1e-30 });
    }
    for rule in [&LAB_03, &GGML_Q4_0, &GGML_Q4_1] {
        let error = rule.encode(&[-1e7, 1e7]).unwrap_err();
        assert_eq!(error, RuleError::AbsmaxTooLarge { rule: rule.name, absmax: 1e7 }, "{error}");
    }
    let error = GPTQ_SYMMETRIC.encode(&[f32::MAX, f32::MIN]).unwrap_err();
    assert!(matches!(error, RuleError::AbsmaxTooLarge { .. }), "{error}");
}

#[test]
fn the_smallest_absmax_still_gives_finite_codes() -> Result<(), RuleError> {
    // Two neighbours in f32: their difference is the smallest step a group can have.
    let step = f32::from_bits(SMALLEST_ABSMAX.to_bits() + 1);
    for rule in ALL {
        rule.encode(&[SMALLEST_ABSMAX, step])?;
        rule.encode(&[-SMALLEST_ABSMAX, step])?;
        rule.encode(&[0.0, 0.0])?;
    }
    Ok(())
}

#[test]
fn the_three_scales_of_symmetric_int4_are_told_apart_by_their_ends() -> Result<(), RuleError> {
    let weights = [-1.0, -0.55, 0.25, 0.9];
    assert_eq!(AUTOAWQ_SYMMETRIC.encode(&weights)?.steps(), [-7, -4, 2, 6]);
    // -1 / (1 / 7.5) lies between -7 and -8, and the last bit of the division decides.
    assert_eq!(COMPRESSED_TENSORS_SYMMETRIC.encode(&weights)?.steps(), [-7, -4, 2, 7]);
    assert_eq!(COMPRESSED_TENSORS_SYMMETRIC.encode(&[-0.9, 0.2])?.steps(), [-8, 2]);
    assert_eq!(GGML_Q4_0.encode(&weights)?.steps(), [-8, -4, 2, 7]);
    // With the weight of largest magnitude positive, Q4_0's scale is negative: its steps count the other way.
    assert_eq!(GGML_Q4_0.encode(&[1.0, 0.55, -0.25, -0.9])?.steps(), [-8, -4, 2, 7]);
    Ok(())
}

#[test]
fn all_positive_groups_meet_three_surprises() -> Result<(), RuleError> {
    let positive = [0.25, 0.5, 1.0, 0.75];
    let gptq = GPTQ_SYMMETRIC.encode(&positive)?;
    assert_eq!(gptq.codes, [12, 15, 15, 15]);
    assert_eq!(gptq.values[2], 7.0 * (1.0f32 / 15.0));
    // 0 is not forced into the range, but its code is clipped: the far end is cut off.
    assert_eq!(AUTOAWQ_ZERO_POINT.encode(&[0.5, 1.0, 1.5, 2.0])?.values[3], 1.5);
    let constant = AUTOAWQ_ZERO_POINT.encode(&[3.0; 4])?;
    assert!(constant.values.iter().all(|value| (value - 1e-5).abs() < 1e-11), "{constant:?}");
    Ok(())
}

#[test]
fn ties_go_where_each_rule_says() -> Result<(), RuleError> {
    let ties = [127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -127.0];
    let middle = |rule: &Rule| Ok::<_, RuleError>(rule.encode(&ties)?.codes[1..7].to_vec());
    assert_eq!(middle(&LAB_01)?, [0, 2, 2, 0, -2, -2]);
    assert_eq!(middle(&VLLM_DYNAMIC)?, [0, 2, 2, 0, -2, -2]);
    assert_eq!(middle(&GGML_Q8_0)?, [1, 2, 3, -1, -2, -3]);
    assert_eq!(middle(&VLLM_TRITON)?, [1, 2, 3, -1, -2, -3]);
    assert_eq!(middle(&VLLM_GROUP)?, [0, 1, 2, 0, -1, -2]);
    // Rounding after the zero point is added, or before: the tie 2.5 lands on another step.
    let range = [-5.0, 10.0, 2.5, 3.5];
    assert_eq!(COMPRESSED_TENSORS_ASYMMETRIC.encode(&range)?.steps(), [-5, 10, 3, 3]);
    assert_eq!(GPTQ_ASYMMETRIC.encode(&range)?.steps(), [-5, 10, 2, 4]);
    Ok(())
}

#[test]
fn the_writer_of_a_group_is_among_its_candidates() -> Result<(), RuleError> {
    for row in normal_matrix(33, 50, 32).rows() {
        let weights = row.to_vec();
        for rule in ALL {
            let codes = rule.encode(&weights)?.codes;
            let who = candidates(rule.bits, &weights, &codes)?;
            assert!(who.iter().any(|other| other.name == rule.name), "{} is missing", rule.name);
        }
    }
    let weights = [-1.0, -0.55, 0.25, 0.9];
    let names: Vec<_> =
        candidates(4, &weights, &[-7, -4, 2, 6])?.iter().map(|rule| rule.name).collect();
    assert_eq!(names, ["lab 03", "AutoAWQ symmetric"]);
    assert_eq!(candidates(4, &weights, &[0, 0, 0, 0])?.len(), 0);
    Ok(())
}

#[test]
fn names_are_unique_and_the_lists_are_complete() {
    for (index, rule) in ALL.iter().enumerate() {
        assert!(ALL[..index].iter().all(|other| other.name != rule.name), "{} twice", rule.name);
        assert_eq!(rule.bits, if index < INT4.len() { 4 } else { 8 }, "{}", rule.name);
    }
}
