//! The tables of methods and layouts, from the capture of four bits on a whole model.

use anyhow::{Context, Result};
use kit::Table;
use kit::table::{percent, sig3};
use measure::awq::{Capture, Run};

/// The methods of the table of layouts, by the names of their runs.
const METHODS: [(&str, &str); 6] = [
    ("nearest codes", "nearest"),
    ("AWQ", "AWQ"),
    ("AWQ without clipping", "AWQ without clipping"),
    ("GPTQ", "GPTQ"),
    ("GPTQ, searched scales", "GPTQ, searched scales"),
    ("AWQ and GPTQ, searched scales", "AWQ and GPTQ, searched scales"),
];
/// The layouts, by their names in the registry.
const LAYOUTS: [(&str, &str); 3] =
    [("compressed-tensors", "w4a16"), ("GPTQ", "gptq"), ("AWQ", "awq")];

fn perplexity(run: &Run) -> String {
    format!("{:.2}", run.quality.perplexity)
}

/// Every run of the capture.
pub fn methods(capture: &Capture) -> Result<Table> {
    let title = format!(
        "SmolLM2-135M in int4, groups of {}: each method on {} tokens of {}, scored on the course's passage",
        capture.setup.group_size, capture.setup.tokens, capture.setup.text
    );
    Ok(Table::of(title, &capture.runs)
        .text("method", |run| run.name.clone())
        .number("perplexity", |run| perplexity(run))
        .number("KL divergence (nats)", |run| sig3(run.quality.kl_divergence))
        .number("top-1 agreement", |run| percent(run.quality.top1_agreement))
        .done())
}

/// One channel in a hundred in 16 bits, on the whole model.
pub fn one_percent(capture: &Capture) -> Result<Table> {
    let none = capture.run("nearest").context("the capture has no run `nearest`")?;
    let kept = capture.one_percent.iter().map(|kept| (kept.chosen_by.as_str(), &kept.quality));
    let rows: Vec<_> = std::iter::once(("no channel", &none.quality)).chain(kept).collect();
    let title = "SmolLM2-135M in int4 with the nearest codes, and one channel in a hundred of the inputs of each \
                 projection in 16 bits";
    Ok(Table::of(title, rows)
        .text("channels in 16 bits", |(chosen_by, _)| *chosen_by)
        .number("perplexity", |(_, quality)| format!("{:.2}", quality.perplexity))
        .number("KL divergence (nats)", |(_, quality)| sig3(quality.kl_divergence))
        .done())
}

/// Each method in each layout: the perplexity of the file, read back.
pub fn layouts(capture: &Capture) -> Result<Table> {
    let rows = METHODS.map(|(label, name)| {
        let run = capture.run(name).with_context(|| format!("the capture has no run `{name}`"))?;
        let cells = LAYOUTS.map(|(_, layout)| {
            let file = run.files.iter().find(|file| file.layout == layout);
            let file = file.with_context(|| format!("`{name}` has no file in {layout}"))?;
            anyhow::ensure!(file.same_values, "`{name}` in {layout} is read back to other values");
            Ok(perplexity(run))
        });
        Ok((label, cells.into_iter().collect::<Result<Vec<String>>>()?))
    });
    let rows: Vec<_> = rows.into_iter().collect::<Result<_>>()?;
    let title = "Perplexity by method (rows) and by layout (columns). Each file was written and read back; all \
                 three files of a method have the same values to the bit";
    let mut table = Table::of(title, rows).text("method", |(label, _)| *label);
    for (index, (layout, _)) in LAYOUTS.into_iter().enumerate() {
        table =
            table.number(format!("in {layout}'s layout"), move |(_, cells)| cells[index].clone());
    }
    Ok(table.done())
}
