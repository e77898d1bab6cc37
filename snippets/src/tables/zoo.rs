//! Every format and method on one model, beside other programs' files, from the capture of `cargo book zoo`.

use anyhow::{Context, Result, ensure};
use kit::Table;
use kit::table::{percent, sig3, times};
use measure::zoo::{Capture, PLAN, Run};

/// Columns that every table of files has.
const BITS: &str = "size (bits a weight)";
const DIVERGENCE: &str = "divergence (nats)";

/// The tables of a capture.
///
/// # Errors
/// If the capture has no file of the course.
pub fn all(of: &Capture) -> Result<Vec<Table>> {
    let mut tables = vec![best(of)?, methods(of)?, two_moves(of)?, activations(of)?];
    if of.runs.iter().any(|run| !run.is_ours()) {
        tables.push(against(of)?);
    }
    tables.push(files(of)?);
    Ok(tables)
}

/// The files among `runs` that no other of them beats: whatever is not larger has a larger divergence. From the
/// smallest on.
pub fn front<'r>(runs: impl IntoIterator<Item = &'r Run>) -> Vec<&'r Run> {
    let mut sorted: Vec<&Run> = runs.into_iter().collect();
    let divergence = |run: &Run| run.quality.kl_divergence;
    sorted.sort_by(|a, b| a.bits.total_cmp(&b.bits).then(divergence(a).total_cmp(&divergence(b))));
    let mut front: Vec<&Run> = Vec::new();
    for run in sorted {
        if front.last().is_none_or(|last| divergence(run) < divergence(last)) {
            front.push(run);
        }
    }
    front
}

/// The files of rounded weights that say something about the method: not those whose blocks find the grid of the
/// input again.
pub fn compared(of: &Capture, is_ours: bool) -> impl Iterator<Item = &Run> {
    let is_compared = move |run: &&Run| run.is_ours() == is_ours && !run.finds_again;
    of.runs.iter().filter(is_compared)
}

/// The best of the course's files of at most so many bits, that rounds inputs or does not as `like` does.
pub fn best_of_ours<'c>(of: &'c Capture, like: &Run) -> Option<&'c Run> {
    let fitting = compared(of, true)
        .filter(|run| run.bits <= like.bits + SAME && run.activations == like.activations);
    fitting.min_by(|a, b| a.quality.kl_divergence.total_cmp(&b.quality.kl_divergence))
}

/// Sizes that differ by less are the same: a table of a few numbers for each matrix, which one program stores and
/// another does not.
const SAME: f64 = 0.005;

/// The course's files of rounded weights that no other beats.
///
/// # Errors
/// If the capture has none.
pub fn best(of: &Capture) -> Result<Table> {
    let rows = front(compared(of, true).filter(|run| !run.activations));
    ensure!(!rows.is_empty(), "the capture has no file of the course");
    Ok(Table::of("The course's files that none of the course's files beats", rows)
        .text("file", |run| run.name.clone())
        .number(BITS, |run| format!("{:.3}", run.bits))
        .number(DIVERGENCE, |run| sig3(run.quality.kl_divergence))
        .number("perplexity", |run| format!("{:.2}", run.quality.perplexity))
        .number("top-1 agreement", |run| percent(run.quality.top1_agreement))
        .text("read by", |run| run.readers[1..].join(", "))
        .done())
}

/// Each file of another program, and the best of the course's that is not larger.
///
/// # Errors
/// If the course has none that is not larger.
pub fn against(of: &Capture) -> Result<Table> {
    let mut rows = Vec::new();
    for theirs in compared(of, false) {
        rows.push((theirs, best_of_ours(of, theirs)));
    }
    rows.sort_by(|(a, _), (b, _)| a.bits.total_cmp(&b.bits));
    let quality = |run: &Run| sig3(run.quality.kl_divergence);
    Ok(Table::of(
        "Other programs' files, each beside the best of the course's that is not larger",
        rows,
    )
    .text("file", |(theirs, _)| theirs.name.clone())
    .text("program", |(theirs, _)| theirs.program.clone())
    .number(BITS, |(theirs, _)| format!("{:.3}", theirs.bits))
    .number(DIVERGENCE, |(theirs, _)| quality(theirs))
    .text("the course's", |(_, ours)| ours.map_or("none".into(), |run| run.name.clone()))
    .number("its bits", |(_, ours)| ours.map_or("-".into(), |run| format!("{:.3}", run.bits)))
    .number("its divergence", |(_, ours)| ours.map_or("-".into(), quality))
    .number("theirs over ours", |(theirs, ours)| {
        let ratio = |run: &Run| theirs.quality.kl_divergence / run.quality.kl_divergence;
        ours.map_or("-".into(), |run| times(ratio(run)))
    })
    .done())
}

/// What the choice of codes is worth in a format, at the same bytes.
///
/// # Errors
/// If a format lacks the file of its nearest codes.
pub fn methods(of: &Capture) -> Result<Table> {
    let with = |base: &str, method: &str| of.run(&format!("{base}, {method}"));
    let bases = PLAN.iter().map(|asked| asked.name).filter(|name| !name.contains(','));
    let bases = bases.filter(|base| with(base, "GPTQ").is_some());
    let rows: Result<Vec<(&str, &Run)>> = bases
        .map(|base| Ok((base, of.run(base).with_context(|| format!("no file is `{base}`"))?)))
        .collect();
    let shown = |run: Option<&Run>| run.map_or("-".into(), |run| sig3(run.quality.kl_divergence));
    Ok(Table::of("Divergence (nats) of files of the same bytes, by how codes are chosen", rows?)
        .text("format", |(base, _)| *base)
        .number(BITS, |(_, run)| format!("{:.3}", run.bits))
        .number("nearest", move |(_, run)| shown(Some(run)))
        .number("imatrix", move |(base, _)| shown(with(base, "imatrix")))
        .number("AWQ", move |(base, _)| shown(with(base, "AWQ")))
        .number("GPTQ", move |(base, _)| shown(with(base, "GPTQ")))
        .number("nearest over GPTQ", move |(base, run)| {
            let of = with(base, "GPTQ").map(|run| run.quality.kl_divergence);
            of.map_or("-".into(), |of| times(run.quality.kl_divergence / of))
        })
        .done())
}

/// The files of [`two_moves`]: one grid, the course's files and those of llm-compressor in turn.
const TWO_MOVES: [&str; 7] = [
    "int4 g64",
    "llm-compressor-w4a16-g64-rtn",
    "int4 g64, AWQ",
    "llm-compressor-w4a16-g64-awq",
    "int4 g64, GPTQ",
    "llm-compressor-w4a16-g64-gptq",
    "int4 g64, AWQ and GPTQ",
];

/// Scales, feedback and both on one grid, by the course and by llm-compressor.
///
/// # Errors
/// If the capture has none of them.
pub fn two_moves(of: &Capture) -> Result<Table> {
    let rows: Vec<&Run> = TWO_MOVES.into_iter().filter_map(|name| of.run(name)).collect();
    ensure!(!rows.is_empty(), "the capture has no file with one of the two moves");
    Ok(Table::of("int4 in groups of 64: the nearest codes, each move alone, and both", rows)
        .text("file", |run| run.name.clone())
        .number("perplexity", |run| format!("{:.2}", run.quality.perplexity))
        .number(DIVERGENCE, |run| sig3(run.quality.kl_divergence))
        .number("top-1 agreement", |run| percent(run.quality.top1_agreement))
        .done())
}

/// The files whose inputs are rounded as well.
///
/// # Errors
/// If the capture has none.
pub fn activations(of: &Capture) -> Result<Table> {
    let rows: Vec<&Run> = of.runs.iter().filter(|run| run.activations).collect();
    ensure!(!rows.is_empty(), "no file of the capture rounds inputs");
    Ok(listed("Files whose inputs of layers are rounded too", rows))
}

/// Every file.
///
/// # Errors
/// If the capture has none.
pub fn files(of: &Capture) -> Result<Table> {
    let mut rows: Vec<&Run> = of.runs.iter().collect();
    ensure!(!rows.is_empty(), "the capture has no file");
    rows.sort_by(|a, b| a.bits.total_cmp(&b.bits));
    Ok(listed("Every file, the smallest first", rows))
}

fn listed(title: &'static str, rows: Vec<&Run>) -> Table {
    Table::of(title, rows)
        .text("file", |run| run.name.clone())
        .text("program", |run| run.program.clone())
        .number(BITS, |run| format!("{:.3}", run.bits))
        .number(DIVERGENCE, |run| sig3(run.quality.kl_divergence))
        .number("perplexity", |run| format!("{:.2}", run.quality.perplexity))
        .number("top-1 agreement", |run| percent(run.quality.top1_agreement))
        .number("seconds", |run| format!("{:.0}", run.seconds))
        .text("finds the old grid", |run| if run.finds_again { "yes" } else { "" })
        .done()
}

/// The files of other programs that no file of the course, not larger, is closer than.
pub fn ahead(of: &Capture) -> Vec<&Run> {
    let is_ahead = |theirs: &&Run| {
        let ours = best_of_ours(of, theirs).map(|run| run.quality.kl_divergence);
        ours.is_none_or(|ours| ours > theirs.quality.kl_divergence)
    };
    compared(of, false).filter(is_ahead).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A file of so many bits and such a divergence; another program's if the name has a `(`.
    pub(crate) fn run(name: &str, bits: f64, kl_divergence: f64) -> Run {
        let program = if name.contains('(') { "another" } else { measure::zoo::COURSE };
        let quality = measure::subject::Quality {
            perplexity: 20.0,
            kl_divergence,
            top1_agreement: 0.9,
            ..Default::default()
        };
        let readers = vec!["this course".into(), "vLLM".into()];
        Run { name: name.into(), program: program.into(), bits, quality, readers, ..Run::default() }
    }

    #[test]
    fn a_file_is_on_the_front_if_every_file_that_is_not_larger_has_a_larger_divergence() {
        let runs = [run("a", 4.0, 0.2), run("b", 4.5, 0.3), run("c", 4.5, 0.1), run("d", 5.0, 0.1)];
        let names: Vec<&str> = front(&runs).into_iter().map(|run| &run.name[..]).collect();
        assert_eq!(names, ["a", "c"]);
        assert!(front(&[]).is_empty());
    }
}
