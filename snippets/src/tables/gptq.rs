//! What the choices of GPTQ do to a whole model, from the captures of `gptq-meters`.

use anyhow::Result;
use kit::Table;
use kit::table::{count, percent, sig3};
use measure::gptq::{Capture, GptqMeters, Loss, Run};

/// The tables of the plan: name, the question with which the names of its runs begin, title.
pub const QUESTIONS: [(&str, &str, &str); 7] = [
    ("gptq_aims", "aim", "GPTQ at 4.25 bits a weight"),
    ("gptq_tokens", "tokens", "How many tokens of calibration"),
    ("gptq_texts", "text", "Which text, from far to near"),
    ("gptq_order", "order", "Order of the columns, passes through a layer, scales"),
    ("gptq_clip", "clip", "Where the grid ends"),
    ("gptq_groups", "groups", "How many weights share a scale"),
    ("gptq_three_bits", "3 bits", "Three bits, 3.25 bits a weight with the scales"),
];

/// The runs that answer a question, in the order of the plan.
pub fn runs_of<'a>(of: &'a GptqMeters, question: &str) -> Vec<&'a Run> {
    let start = format!("{question}, ");
    of.runs.iter().filter(|run| run.name.starts_with(&start)).collect()
}

/// The runs of a question.
pub fn question(of: &Capture, question: &str, title: &str) -> Table {
    let name = |run: &Run| run.name.split_once(", ").map_or("", |(_, rest)| rest).to_string();
    Table::of(title, runs_of(of, question))
        .text("run", |run| name(run))
        .text("text", |run| run.text.clone())
        .number("tokens", |run| count(run.tokens))
        .number("perplexity", |run| format!("{:.2}", run.quality.perplexity))
        .number("divergence (nats)", |run| sig3(run.quality.kl_divergence))
        .number("top-1 agreement", |run| percent(run.quality.top1_agreement))
        .number("processor seconds", |run| {
            run.processor_seconds.map_or("-".into(), |seconds| count(seconds.round() as usize))
        })
        .done()
}

/// A row of [`others`].
struct Program {
    name: String,
    seconds: f64,
    processor_seconds: Option<f64>,
    perplexity: Option<f64>,
}

/// The runs that are timed beside other programs: act-order, static groups, as many tokens.
const TIMED: [&str; 2] = ["aim, llm-compressor's choices", "tokens, 65536"];

/// Other programs beside this one, on the same text and tokens.
pub fn others(of: &Capture) -> Table {
    let ours = TIMED.into_iter().filter_map(|name| of.run(name)).map(|run| Program {
        name: format!(
            "this course, {}",
            if run.choices.sequential { "stage by stage" } else { "one pass a layer" }
        ),
        seconds: run.seconds,
        processor_seconds: run.processor_seconds,
        perplexity: Some(run.quality.perplexity),
    });
    let others = of.others.iter().map(|other| Program {
        name: other.version.split(',').next().unwrap_or_default().into(),
        seconds: other.seconds,
        processor_seconds: other.processor_seconds,
        perplexity: other.perplexity,
    });
    let rows: Vec<Program> = ours.chain(others).collect();
    let seconds = |seconds: f64| count(seconds.round() as usize);
    Table::of("128 chunks of 512 tokens, act-order, static groups", &rows)
        .text("program", |row| row.name.clone())
        .number("seconds", |row| seconds(row.seconds))
        .number("processor seconds", |row| row.processor_seconds.map_or("-".into(), seconds))
        .number("perplexity", |row| row.perplexity.map_or("-".into(), |p| format!("{p:.2}")))
        .done()
}

/// A table for each question that was asked.
///
/// # Errors
/// None; the type is that of the other captures.
pub fn all(of: &Capture) -> Result<Vec<Table>> {
    let asked = QUESTIONS.iter().filter(|(_, asked, _)| !runs_of(of, asked).is_empty());
    let mut tables: Vec<Table> =
        asked.map(|(_, asked, title)| question(of, asked, title)).collect();
    if !of.others.is_empty() {
        tables.push(others(of));
    }
    Ok(tables)
}

/// The mean loss of the matrices of each decoder layer, in order: of the nearest codes, and of those chosen.
pub fn by_layer(losses: &[Loss]) -> Vec<(f64, f64)> {
    let mut layers: Vec<(f64, f64, f64)> = Vec::new();
    for loss in losses {
        // `model.layers.7.mlp.up_proj.weight`
        let Some(Ok(layer)) = loss.name.split('.').nth(2).map(str::parse::<usize>) else {
            continue;
        };
        if layers.len() <= layer {
            layers.resize(layer + 1, (0.0, 0.0, 0.0));
        }
        let sum = &mut layers[layer];
        *sum = (sum.0 + loss.nearest, sum.1 + loss.chosen, sum.2 + 1.0);
    }
    layers
        .into_iter()
        .map(|(nearest, chosen, number)| (nearest / number, chosen / number))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// Two runs of a question, one of another, and losses of two layers.
    pub(crate) fn capture() -> Capture {
        let run = |name: &str, tokens: usize, perplexity: f64| {
            json!({
                "name": name, "text": "Paradise Lost", "tokens": tokens, "group_size": 64,
                "choices": {
                    "codes": [-8, 7], "divisor": 7.5, "scales": "static", "act_order": true, "damping": 0.01,
                    "sequential": true, "sweeps": 0
                },
                "seconds": 12.4, "load": 0.0,
                "quality": {
                    "perplexity": perplexity, "standard_error": 0.5, "kl_divergence": 0.25, "top1_agreement": 0.75
                },
                "losses": [
                    { "name": "model.layers.0.mlp.up_proj.weight", "nearest": 0.01, "chosen": 0.004 },
                    { "name": "model.layers.0.mlp.down_proj.weight", "nearest": 0.03, "chosen": 0.008 },
                    { "name": "model.layers.1.mlp.up_proj.weight", "nearest": 0.02, "chosen": 0.01 }
                ]
            })
        };
        let runs = json!([
            run("tokens, 1024", 1024, 28.5),
            run("tokens, 8192", 8192, 27.25),
            run("clip, fitted", 8192, 27.0)
        ]);
        let capture = json!({
            "schema": "gptq-meters", "version": 2,
            "provenance": {
                "processor": "p", "processors": 2, "system": "s", "compiler": "c", "commit": "0", "date": "2026-01-01T00:00:00Z",
                "command": "x", "quick": false
            },
            "setup": { "model": "m", "passage": "p", "chunk": 512 },
            "runs": runs
        });
        serde_json::from_value(capture).expect("a capture of this shape")
    }

    #[test]
    fn a_question_has_a_table_of_its_runs_and_others_have_none() -> Result<()> {
        let tables = all(&capture())?;
        let titles: Vec<_> = tables.iter().map(Table::title).collect();
        assert_eq!(titles, ["How many tokens of calibration", "Where the grid ends"]);
        let text = tables[0].to_markdown();
        assert!(
            text.contains("| 1024 ") && text.contains("28.50") && !text.contains("fitted"),
            "{text}"
        );
        Ok(())
    }

    #[test]
    fn the_loss_of_a_layer_is_the_mean_of_its_matrices() {
        let layers = by_layer(&capture().runs[0].losses);
        assert_eq!(layers, [(0.02, 0.006), (0.02, 0.01)]);
    }
}
