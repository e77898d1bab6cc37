//! Checks a prediction: `cargo run --example predict` lists the exercises, and `… predict 1 327680`
//! says whether 327,680 is the answer to the first exercise.

use std::process::ExitCode;

use quantize_and_eval::exercises::{ALL, check};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [number, answer] = arguments.as_slice() else {
        for (at, exercise) in ALL.iter().enumerate() {
            println!("{}. {} ({})", at + 1, exercise.question, exercise.unit);
        }
        println!("\nSay the number of an exercise and your answer: predict 1 327680");
        return ExitCode::SUCCESS;
    };
    let exercise = number.parse::<usize>().ok().and_then(|number| ALL.get(number.wrapping_sub(1)));
    let (Some(exercise), Ok(answer)) = (exercise, answer.replace([',', '_'], "").parse()) else {
        eprintln!("say a number from 1 to {} and a number for an answer", ALL.len());
        return ExitCode::from(64);
    };
    match check(exercise, answer) {
        Ok(verdict) => {
            println!("{verdict}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
