//! `cargo book compare`: what one checkpoint costs and predicts beside another.

use std::path::Path;

use anyhow::Result;
use arguments::reading::Compare as Args;
use formats::checkpoint::{inspect, inspection_report};
use indicatif::ProgressBar;
use kit::Table;
use kit::table::{percent, sig3};
use model::{Compared, Score, compare, passage, perplexity};

use crate::perplexity::{Subject, show, text_or};
use crate::report::number;

/// Prints both checkpoints side by side.
///
/// # Errors
/// If one of them is not there, or its model or tokenizer is not supported.
pub fn run(args: &Args) -> Result<()> {
    println!("{}", report(args)?);
    Ok(())
}

fn report(args: &Args) -> Result<String> {
    let paths = [args.reference.as_path(), args.other.as_path()];
    let [a, b] = paths.map(stored);
    // The headers first, because loading a model takes longer than the refusal of a wrong path.
    let (a, b) = (a?, b?);
    let text = text_or(args.scored.text.as_deref(), passage::ALICE)?;
    let subject = |path| Subject::load(path, path, &text);
    let predicted = predictions([&subject(paths[0])?, &subject(paths[1])?], args.scored.chunks)?;
    let mut table = Table::new(predicted.title()).text("").number("A").number("B");
    table.row(["bytes on disk".to_string(), number(a.bytes), number(b.bytes)]);
    table.row(["bits a weight".to_string(), a.bits(), b.bits()]);
    for [name, a, b] in predicted.rows() {
        table.row([name, a, b]);
    }
    let names = paths.map(|path| path.display().to_string());
    let notes = predicted.apart.iter().map(|reason| format!("\nnot compared: {reason}"));
    let notes: String = notes.collect();
    Ok(format!("A: {}\nB: {}\n\n{table}{notes}", names[0], names[1]))
}

/// What the headers of a checkpoint say.
struct Stored {
    bytes: u64,
    bits_per_weight: Option<f64>,
}

fn stored(path: &Path) -> Result<Stored> {
    let inspection = inspect(path)?;
    let (.., total) = inspection_report::sums(&inspection);
    let bytes = inspection.files.iter().map(|file| file.bytes).sum();
    Ok(Stored { bytes, bits_per_weight: total.bits_per_weight() })
}

impl Stored {
    fn bits(&self) -> String {
        self.bits_per_weight.map_or_else(|| "?".into(), |bits| format!("{bits:.3}"))
    }
}

/// What the models predict of the text.
struct Predictions {
    chunk: usize,
    compared: Compared,
    /// Why the predictions cannot be compared token by token, if they cannot.
    apart: Option<String>,
}

/// Scores both models: together where they predict the same tokens, else each by itself.
fn predictions([a, b]: [&Subject; 2], chunks: Option<usize>) -> Result<Predictions> {
    let chunk = a.chunk().min(b.chunk());
    let bar = ProgressBar::new(0);
    let apart = apart([a, b]);
    let compared = if apart.is_some() {
        let score = |subject: &Subject| {
            let tokens = subject.tokens(chunk, chunks);
            perplexity(&subject.model, tokens, subject.convention(chunk), &mut |score, all| {
                show(&bar, score.chunks, all);
            })
        };
        Compared { reference: score(a)?, other: score(b)?, ..Compared::default() }
    } else {
        let tokens = a.tokens(chunk, chunks);
        compare(&a.model, &b.model, tokens, a.convention(chunk), &mut |sums, all| {
            show(&bar, sums.other.chunks, all);
        })?
    };
    bar.finish_and_clear();
    Ok(Predictions { chunk, compared, apart })
}

/// Why two models do not predict the same tokens; `None` if they do.
fn apart(subjects: [&Subject; 2]) -> Option<String> {
    let [a, b] = subjects.map(|subject| subject.model.config().vocab_size);
    if a != b {
        return Some(format!("A has a vocabulary of {a} tokens, B of {b}"));
    }
    let [a, b] = subjects.map(|subject| (subject.bos, subject.tokens(1, None)));
    (a != b).then(|| "the tokenizers of A and B cut the text into different tokens".into())
}

impl Predictions {
    fn title(&self) -> String {
        let (a, b) = (&self.compared.reference, &self.compared.other);
        let tokens = match a.tokens == b.tokens {
            true => a.tokens.to_string(),
            false => format!("{} tokens by A, {}", a.tokens, b.tokens),
        };
        format!("Predictions of {tokens} tokens in chunks of {}", self.chunk)
    }

    fn rows(&self) -> [[String; 3]; 3] {
        let Compared { reference, other, closeness } = &self.compared;
        let perplexity = |score: &Score| format!("{:.4}", score.perplexity());
        let of_b = |text: String| match self.apart {
            Some(_) => "not compared".into(),
            None => text,
        };
        let kl = of_b(sig3(closeness.mean_kl_divergence()));
        let top1 = of_b(percent(closeness.top1_agreement()));
        [
            ["perplexity".into(), perplexity(reference), perplexity(other)],
            ["KL divergence from A, nats a token".into(), String::new(), kl],
            ["top-1 agreement with A".into(), String::new(), top1],
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use anyhow::Context;
    use arguments::reading::Scored;
    use formats::bytes::Float;
    use formats::registry::StorageFormat;
    use model::Weights;
    use quantizer::{Job, Plan, SHARD_BYTES, write};

    use super::*;

    fn tiny() -> PathBuf {
        kit::workspace::root().join("labs/model/golden/tiny")
    }

    /// The tiny model in `scheme`, in groups of 16 where there are groups.
    fn quantized(scheme: &str, out: &Path) -> Result<()> {
        let job = Job {
            weights: &Weights::open(tiny())?,
            plan: Plan::new(StorageFormat::named(scheme, 16)?, Float::F16),
            transform: None,
            rounding: None,
            importance: None,
            activations: None,
            kv_scales: None,
            out,
            shard_bytes: SHARD_BYTES,
            leave_out: false,
            requantize: false,
        };
        write(&job, &())?;
        Ok(())
    }

    fn compared(reference: PathBuf, other: PathBuf) -> Result<String> {
        compared_on(None, [reference, other])
    }

    fn compared_on(text: Option<PathBuf>, [reference, other]: [PathBuf; 2]) -> Result<String> {
        report(&Args { reference, other, scored: Scored { text, chunks: Some(1) } })
    }

    /// The cells of the row `name`.
    fn row<'t>(text: &'t str, name: &str) -> [&'t str; 2] {
        let line = text.lines().find(|line| line.contains(name)).expect("the row is there");
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        [cells[2], cells[3]]
    }

    #[test]
    fn a_checkpoint_is_as_good_as_itself_and_fewer_bits_are_further_away() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut divergences = Vec::new();
        for scheme in ["none", "w8a16", "w4a16"] {
            let out = folder.path().join(scheme);
            quantized(scheme, &out)?;
            let text = compared(tiny(), out)?;
            let [_, divergence] = row(&text, "KL divergence");
            divergences.push(divergence.parse::<f64>().with_context(|| text.clone())?);
            let [a, b] = row(&text, "perplexity");
            assert_eq!(scheme == "none", a == b, "{text}");
            if scheme == "none" {
                assert_eq!(row(&text, "top-1 agreement"), ["", "100 %"], "{text}");
            }
            if scheme == "w4a16" {
                let bits = row(&text, "bits a weight").map(|bits| bits.parse::<f64>());
                assert!(matches!(bits, [Ok(a), Ok(b)] if a == 16.0 && b < a), "{text}");
            }
        }
        assert!(divergences.is_sorted(), "KL divergence by bits: {divergences:?}");
        Ok(())
    }

    #[test]
    fn the_text_that_is_given_is_scored_instead_of_the_passage() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let [same, another] = ["same", "another"].map(|name| folder.path().join(name));
        std::fs::write(&same, model::passage::ALICE)?;
        std::fs::write(&another, model::passage::PARADISE_LOST)?;
        let scored = |text| -> Result<String> {
            let text = compared_on(text, [tiny(), tiny()])?;
            Ok(row(&text, "perplexity")[0].to_string())
        };
        let passage = scored(None)?;
        assert_eq!(scored(Some(same))?, passage);
        assert_ne!(scored(Some(another))?, passage);
        Ok(())
    }

    #[test]
    fn models_of_other_vocabularies_are_scored_and_not_compared() -> Result<()> {
        let folder = tempfile::tempdir()?;
        // The same tensors, but the tokenizer has lost its merges and cuts other tokens.
        for name in ["config.json", "model.safetensors", "tokenizer.json"] {
            std::fs::copy(tiny().join(name), folder.path().join(name))?;
        }
        let path = folder.path().join("tokenizer.json");
        let mut json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        json["model"]["merges"] = serde_json::json!([]);
        std::fs::write(&path, json.to_string())?;
        let text = compared(tiny(), folder.path().into())?;
        assert_eq!(row(&text, "KL divergence"), ["", "not compared"], "{text}");
        assert!(text.contains("not compared: the tokenizers of A and B cut"), "{text}");
        let scored = row(&text, "perplexity").map(|cell| cell.parse::<f64>().is_ok());
        assert_eq!(scored, [true; 2], "{text}");
        Ok(())
    }

    #[test]
    fn the_checkpoint_that_is_missing_is_named() {
        let error = compared(tiny(), "no/such".into()).expect_err("B is missing");
        assert!(format!("{error:#}").starts_with("cannot read no/such: "), "{error:#}");
    }
}
