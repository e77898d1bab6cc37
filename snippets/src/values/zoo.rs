//! Numbers of the zoo inside sentences, from the capture of `cargo book zoo`.

use anyhow::{Context, Result};
use kit::table::sig3;
use measure::zoo::{Capture, Run};

use super::{Shown, Value, number};
use crate::Entry;
use crate::inputs::ZOO;
use crate::tables::zoo::ahead;

/// Every value of this kind.
pub fn all() -> Vec<Entry<Value>> {
    vec![
        counted("zoo.ours", |of| of.runs.iter().filter(|run| run.is_ours()).count())
            .means("the files of the course in the zoo are"),
        counted("zoo.theirs", |of| of.runs.iter().filter(|run| !run.is_ours()).count())
            .means("the files of other programs in the zoo are"),
        counted("zoo.ahead", |of| ahead(of).len()).means(
            "the files of other programs that no file of the course of the same size is closer than are",
        ),
        nats("zoo.q4_k_m", "Q4_K_M").means("Q4_K_M with the nearest codes diverges, in nats, by"),
        nats("zoo.q4_k_m_imatrix", "Q4_K_M, imatrix")
            .means("Q4_K_M with an importance matrix diverges, in nats, by"),
        nats("zoo.q4_k_m_gptq", "Q4_K_M, GPTQ").means("Q4_K_M with feedback diverges, in nats, by"),
        file("zoo.q4_k_m_bits", "Q4_K_M", |bits| format!("{bits:.2}"), |run| run.bits)
            .means("the bits of a weight of this model's Q4_K_M are"),
    ]
}

fn counted(
    name: &'static str,
    of: impl Fn(&Capture) -> usize + Send + Sync + 'static,
) -> Entry<String> {
    number(name, &ZOO, |count| count.to_string(), move |capture: &Capture| Ok(of(capture) as f64))
}

fn nats(name: &'static str, of: &'static str) -> Entry<String> {
    file(name, of, sig3, |run| run.quality.kl_divergence)
}

fn file(
    name: &'static str,
    of: &'static str,
    shown: Shown,
    value: impl Fn(&Run) -> f64 + Send + Sync + 'static,
) -> Entry<String> {
    number(name, &ZOO, shown, move |capture: &Capture| -> Result<f64> {
        Ok(value(capture.run(of).with_context(|| format!("no file is `{of}`"))?))
    })
}
