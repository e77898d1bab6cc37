//! `book-predict [NAME [NUMBER]]`: lists the predictions of the book, or says whether one holds.
//! `cargo book predict` runs it.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use snippets::predictions::{Prediction, all};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(&words).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(words: &[&str]) -> Result<ExitCode> {
    let predictions = all();
    let (name, number) = match words {
        [] => return Ok(list(&predictions)),
        [name] => (name, None),
        [name, number] => (name, Some(number.parse().context("the answer is a number")?)),
        _ => bail!("give a name and a number: other-rows 50"),
    };
    let Some(prediction) = predictions.iter().find(|prediction| prediction.name == *name) else {
        list(&predictions);
        bail!("there is no prediction {name:?}: the names are above");
    };
    println!("{} ({})", prediction.question, prediction.unit);
    let Some(number) = number else { return Ok(ExitCode::SUCCESS) };
    let verdict = prediction.check(number)?;
    println!("{}", verdict.words);
    Ok(if verdict.is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list(predictions: &[Prediction]) -> ExitCode {
    let mut chapter = "";
    for prediction in predictions {
        if prediction.chapter != chapter {
            chapter = prediction.chapter;
            println!("\nsrc/{chapter}");
        }
        println!("  {:<15} {} ({})", prediction.name, prediction.question, prediction.unit);
    }
    println!("\nAnswer with a name and a number: cargo book predict other-rows 50");
    ExitCode::SUCCESS
}
