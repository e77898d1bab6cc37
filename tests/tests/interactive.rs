//! The interactive figures, in Chromium: what their scripts compute is held to the labs, and each
//! works by hand, by keyboard, on paper and without JavaScript.
//!
//! Without a browser this says `SKIPPED` and passes, unless `CI` is set: there it fails. The checks
//! of the figures in their chapters are ignored unless the book is built: `cargo book test` builds
//! it and runs them.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use book_tests::browser::{DESK, PHONE, Tab, file_url, start_or_skip, theme_scripts};
use book_tests::site::{PRINT_PAGE, Site, book_dir};
use formats::format::{self, Format};
use formats::{architecture, device};
use kit::data::Normal;
use kit::meters::row_relative_errors;
use kit::skip::if_written;
use kit::table::{percent, sig3};
use ndarray::Array2;
use quantize_and_eval::{BLOCK_TOKENS, CostError, UTILIZATION};
use serde_json::{Number, Value, json};
use snippets::interactive::calculator::{format_json, setting_json};
use snippets::interactive::grid::{Grid, round_trip};
use snippets::interactive::outlook::{Best, Outlook, Setting, Step, outlook};

// ---- what the scripts compute

/// The scripts of the repository, in the order in which the book loads them.
fn scripts() -> String {
    theme_scripts(["course.js", "replay.js", "grid.js", "calculator.js"])
}

/// Matrices of every magnitude, with rows of zeros, halves of a step, and values at the ends of f16.
fn matrices() -> Vec<Array2<f32>> {
    let mut normal = Normal::seeded(2026);
    let mut made: Vec<Array2<f32>> = (0..300)
        .map(|index| {
            let magnitude = power_of_ten(f64::from(index % 50) / 5.0 - 6.0);
            Array2::from_shape_simple_fn((3, 5), || (normal.sample() * magnitude) as f32)
        })
        .collect();
    // Halves of a step of each grid: the largest magnitude sets a step of exactly 1, 2^-3, 2^9.
    for last in [127.0, 7.0, 448.0] {
        for step in [1.0, 0.125, 512.0] {
            let values = [last, 0.5, 1.5, -2.5, 3.5, -0.5, 4.5, -6.5, 5.5, 0.0, 2.5, -3.5];
            made.push(Array2::from_shape_fn((3, 4), |(r, c)| values[4 * r + c] * step));
        }
    }
    made.push(Array2::zeros((3, 2)));
    // Subnormal: a 127th of the largest rounds to one unit, and the grid must clip.
    let units = f32::from_bits;
    made.push(ndarray::array![[units(190), -units(190)], [units(5), units(700)]]);
    made.push(ndarray::array![[0.0, -0.0], [1e-45, 1e-40], [3e-7, -1e-7]]);
    made.push(ndarray::array![[4.17e-7, 1e-9], [2.09e-7, 0.0], [450_000.0, -65_504.0]]);
    made
}

/// Ten to the power of `exponent`, roughly: the same on every machine.
fn power_of_ten(exponent: f64) -> f64 {
    let whole = exponent.floor();
    10f64.powi(whole as i32) * (1.0 + 9.0 * (exponent - whole))
}

/// Where the script and the labs differ on these matrices, a sentence each.
fn differences(tab: &mut Tab<'_>, matrices: &[Array2<f32>]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for grid in Grid::ALL {
        for per_row in [false, true] {
            let rows: Vec<Value> = matrices.iter().map(|w| json!(rows_of(w))).collect();
            let asked = tab.evaluate(&format!(
                "{}.map(rows => course.roundTrip('{}', {per_row}, rows))",
                json!(rows),
                grid.key()
            ))?;
            let answers = asked.as_array().context("a list")?;
            ensure!(answers.len() == matrices.len(), "{} answers", answers.len());
            for (w, answer) in matrices.iter().zip(answers) {
                let lab = round_trip(grid, per_row, w)?;
                let same = floats(&answer["scales"])? == lab.scales
                    && floats(&answer["codes"])? == lab.codes.iter().copied().collect::<Vec<_>>()
                    && floats(&answer["back"])? == lab.back.iter().copied().collect::<Vec<_>>();
                if !same {
                    found.push(format!(
                        "{} (per row: {per_row}) of {w}: the script says {answer}, the lab scales \
                         {:?} and codes {}",
                        grid.key(),
                        lab.scales,
                        lab.codes
                    ));
                }
            }
        }
    }
    Ok(found)
}

fn rows_of(w: &Array2<f32>) -> Vec<Vec<f32>> {
    w.rows().into_iter().map(|row| row.to_vec()).collect()
}

/// Numbers of a JSON list, however deep, as `f32`: the script's are `f32` already.
fn floats(value: &Value) -> Result<Vec<f32>> {
    match value {
        Value::Array(values) => {
            let all = values.iter().map(floats).collect::<Result<Vec<_>>>()?;
            Ok(all.concat())
        }
        value => Ok(vec![value.as_f64().with_context(|| format!("{value} is no number"))? as f32]),
    }
}

#[test]
fn the_grids_of_the_script_are_those_of_the_labs_on_random_matrices() {
    if_written("the grids of the script", || {
        let Some(mut browser) = start_or_skip() else { return };
        let mut tab = browser.tab().expect("a tab");
        tab.open_scripts(&scripts()).expect("the page opens");
        let found = differences(&mut tab, &matrices()).expect("answers");
        assert!(found.is_empty(), "{} differ, the first: {}", found.len(), found[0]);
        assert_eq!(tab.complaints(), Vec::<String>::new());
    });
}

/// Mistakes that a script like this is likely to have: what is replaced, and by what.
const MISTAKES: [(&str, &str); 7] = [
    ("return below % 2 === 0 ? below : below + 1;", "return below + 1;"),
    ("clip(roundEven(steps), 127)", "clip(roundEven(steps), 128)"),
    ("orOne(f16(f32(absmax / 7)))", "orOne(f32(absmax / 7))"),
    ("orOne(f32(absmax / 127))", "orOne(absmax / 127)"),
    ("const orOne = scale => (scale > 0 ? scale : 1);", "const orOne = scale => scale;"),
    ("toFloat(clip(steps, 448), 3, -6)", "toFloat(clip(steps, 448), 3, -9)"),
    ("perRow ? largest(row) : shared", "perRow ? shared : largest(row)"),
];

#[test]
fn a_mistake_in_the_script_is_found() {
    if_written("mistakes in the grids of the script", || {
        let Some(mut browser) = start_or_skip() else { return };
        let mut tab = browser.tab().expect("a tab");
        for (right, wrong) in MISTAKES {
            let sound = scripts();
            assert!(sound.contains(right), "the script has no {right}");
            tab.open_scripts(&sound.replace(right, wrong)).expect("the page opens");
            // An answer that is no number at all is found as well.
            let found = differences(&mut tab, &matrices()).map_or(true, |found| !found.is_empty());
            assert!(found, "{wrong} in the place of {right} goes unnoticed");
        }
    });
}

#[test]
fn the_script_writes_numbers_as_the_tables_do() {
    let Some(mut browser) = start_or_skip() else { return };
    let mut tab = browser.tab().expect("a tab");
    tab.open_scripts(&scripts()).expect("the page opens");
    let mut normal = Normal::seeded(7);
    let mut values: Vec<f64> = (0..600)
        .map(|index| normal.sample() * power_of_ten(f64::from(index % 60) / 4.0 - 8.0))
        .collect();
    values.extend([0.0, 1.0, 9.996, 0.9996, 99.95, 1234.0, 999.9, -0.5, 1e-9, 127.0, 448.0]);
    let script = format!("{}.map(v => [course.sig3(v), course.percent(v)])", json!(values));
    let answers = tab.evaluate(&script).expect("answers");
    for (value, answer) in values.iter().zip(answers.as_array().expect("a list")) {
        assert_eq!(answer[0], sig3(*value).as_str(), "{value}");
        assert_eq!(answer[1], percent(*value).replace(' ', "\u{a0}").as_str(), "{value}");
    }
}

// ---- the calculator

/// Settings with every device, model and cache, on a data sheet's numbers and on others, and some
/// that the lab refuses.
fn settings() -> Vec<Setting> {
    let mut normal = Normal::seeded(902);
    // Any number below `end`, about evenly: digits of a normal number behind the first.
    let mut below = |end: u64| (normal.sample().abs() * 1e9) as u64 % end;
    let mut made: Vec<Setting> = (0..400)
        .map(|index| {
            let (_, sheet) = device::PUBLISHED[below(5) as usize];
            let own = index % 2 == 0;
            // Small numbers as often as large ones.
            let [most_tokens, most_requests] = [17, 11].map(|bits| 2 << below(bits));
            let (gigabytes, terabytes) = (4 + below(190), 1 + below(900));
            let published = (sheet.memory_bytes as f64 / 1e9, sheet.bytes_per_s / 1e12);
            let chosen = (gigabytes as f64 + 0.3, terabytes as f64 / 100.0);
            let (memory_gb, terabytes_per_s) = if own { chosen } else { published };
            Setting {
                memory_gb,
                terabytes_per_s,
                rates: sheet.operations_per_s,
                architecture: architecture::PUBLISHED[below(7) as usize].1,
                kv: [format::Grid::Sixteen, format::Grid::E4M3][below(2) as usize],
                utilization: if own { (50 + below(51)) as f64 / 100.0 } else { UTILIZATION },
                block_tokens: [BLOCK_TOKENS, 128][below(2) as usize],
                context_tokens: 1 + below(most_tokens),
                batch: 1 + below(most_requests),
            }
        })
        .collect();
    let sound = Setting {
        memory_gb: 80.0,
        terabytes_per_s: 3.35,
        rates: device::H100.operations_per_s,
        architecture: architecture::LLAMA31_8B,
        kv: format::Grid::Sixteen,
        utilization: UTILIZATION,
        block_tokens: BLOCK_TOKENS,
        context_tokens: 2048,
        batch: 16,
    };
    let mut broken = |change: fn(&mut Setting)| {
        let mut setting = sound.clone();
        change(&mut setting);
        made.push(setting);
    };
    broken(|_| ());
    broken(|it| it.memory_gb = 0.0);
    broken(|it| it.memory_gb = -1.0);
    broken(|it| it.memory_gb = 1e12);
    broken(|it| it.memory_gb = 16.0);
    broken(|it| it.terabytes_per_s = 0.0);
    broken(|it| it.terabytes_per_s = -3.35);
    broken(|it| it.utilization = 0.0);
    broken(|it| it.utilization = 1.5);
    broken(|it| it.utilization = 1.0);
    broken(|it| it.block_tokens = 0);
    broken(|it| it.context_tokens = 0);
    broken(|it| it.context_tokens = 10_000_000);
    broken(|it| it.batch = 0);
    broken(|it| it.rates.sixteen = None);
    broken(|it| it.rates.int8 = Some(0.0));
    broken(|it| it.rates = formats::device::Rates::default());
    made
}

/// The formats that are compared: those of the figure, and two that others use.
fn formats() -> Vec<Format> {
    let figure = [Format::BF16, Format::W8A8, Format::FP8, Format::w4a16(128), Format::NVFP4];
    let w8a16 = Format { activations: format::Grid::Sixteen, ..Format::W8A8 };
    figure.into_iter().chain([Format::w4a16(32), w8a16]).collect()
}

/// What the labs say, in the script's words.
fn lab_says(out: &Outlook) -> Value {
    fn number<T: serde::Serialize>(value: &Result<T, CostError>) -> Value {
        value.as_ref().map_or_else(refused, |value| json!(value))
    }
    fn refused(error: &CostError) -> Value {
        json!(match error {
            CostError::Zero(_) => "zero",
            CostError::Indivisible { .. } => "indivisible",
            CostError::NotASize(_) => "size",
            CostError::Utilization(_) => "utilization",
            CostError::NoRoom { .. } => "no room",
            CostError::NoRate(_) => "no unit",
            CostError::NotPositive { .. } => "not positive",
            other => panic!("no setting should give {other}"),
        })
    }
    let step = |step: &Result<Step, CostError>| match step {
        Ok(it) => {
            json!([it.roofline.memory_s, it.roofline.arithmetic_s, it.tokens_per_s, it.binds()])
        }
        Err(error) => refused(error),
    };
    let best = |best: &Option<Best>| match best {
        Some(best) => json!([best.formats, best.value, best.gain]),
        None => Value::Null,
    };
    let predictions = out.predictions.iter().map(|it| {
        let numbers = [number(&it.weight_bytes), number(&it.blocks), number(&it.fit)];
        json!([numbers, step(&it.decode), step(&it.prefill)])
    });
    json!([
        predictions.collect::<Vec<_>>(),
        [best(&out.room), best(&out.decode), best(&out.prefill)],
        out.binds,
    ])
}

/// The script's answer in the same shape. Numbers are written out, since JSON on its way here might
/// round them.
const SCRIPT_SAYS: &str = "
    const exact = value => JSON.parse(JSON.stringify(value, (_, it) => (typeof it === 'number' ? String(it) : it)));
    const number = it => it.refused ?? it;
    const step = it => it.refused ?? [it.memoryS, it.arithmeticS, it.tokensPerS, it.binds];
    const best = it => it && [it.formats, it.value, it.gain];
    const prediction = it =>
        [[number(it.weightBytes), number(it.blocks), number(it.fit)], step(it.decode), step(it.prefill)];
    const says = out =>
        exact([out.predictions.map(prediction), [best(out.room), best(out.writing), best(out.reading)], out.binds]);
";

/// Ulps between two orders of the same arithmetic: a roofline is a chain of at most 32 operations, each
/// off by at most half an ulp. The spec of lab 02 allows as much.
const ULPS: f64 = 16.0;

/// Whether two numbers agree: whole numbers exactly, others within [`ULPS`].
fn agree(lab: &Number, script: f64) -> bool {
    let Some(value) = lab.as_f64() else { return false };
    let slack = if lab.is_f64() { ULPS * f64::EPSILON * value.abs() } else { 0.0 };
    (value - script).abs() <= slack
}

/// Whether the words are the same and the numbers agree.
fn same(lab: &Value, script: &Value) -> bool {
    match (lab, script) {
        (Value::Number(lab), Value::String(script)) => {
            script.parse().is_ok_and(|script| agree(lab, script))
        }
        (Value::Array(lab), Value::Array(script)) => {
            lab.len() == script.len() && lab.iter().zip(script).all(|(lab, it)| same(lab, it))
        }
        (lab, script) => lab == script,
    }
}

/// Where the calculator and lab 02 differ on these settings, a sentence each.
fn miscalculations(tab: &mut Tab<'_>, settings: &[Setting]) -> Result<Vec<String>> {
    let formats = formats();
    let told = formats.iter().map(format_json).collect::<Result<Vec<_>>>()?;
    let asked: Vec<Value> = settings.iter().map(setting_json).collect();
    let script = format!(
        "(() => {{ {SCRIPT_SAYS} return {}.map(setting => says(course.outlook(setting, {}))); }})()",
        json!(asked),
        json!(told)
    );
    let answers = tab.evaluate(&script)?;
    let answers = answers.as_array().context("a list")?;
    ensure!(answers.len() == settings.len(), "{} answers", answers.len());
    let mut found = Vec::new();
    for (setting, answer) in settings.iter().zip(answers) {
        let lab = lab_says(&outlook(setting, &formats));
        if !same(&lab, answer) {
            found.push(format!("{setting:?}: the script says {answer}, the lab {lab}"));
        }
    }
    Ok(found)
}

#[test]
fn another_order_of_a_sum_agrees_and_another_sum_does_not() {
    let floor = 0.000_860_139_842_990_654_2;
    let other_order = json!(0.000_860_139_842_990_654_1.to_string());
    assert!(same(&json!(floor), &other_order));
    for (lab, script) in [
        (json!(floor), "0.00086013984300"),
        (json!(1_u64 << 60), "1"),
        (json!(3), "3.0000000000000004"),
    ] {
        assert!(!same(&lab, &json!(script)), "{lab} {script}");
    }
}

#[test]
fn the_calculator_is_the_cost_model_of_the_lab_on_random_settings() {
    if_written("the calculator", || {
        let Some(mut browser) = start_or_skip() else { return };
        let mut tab = browser.tab().expect("a tab");
        tab.open_scripts(&scripts()).expect("the page opens");
        let found = miscalculations(&mut tab, &settings()).expect("answers");
        assert!(found.is_empty(), "{} differ, the first: {}", found.len(), found[0]);
        assert_eq!(tab.complaints(), Vec::<String>::new());
    });
}

#[test]
fn random_settings_of_the_calculator_meet_every_answer_and_every_refusal() {
    if_written("the settings of the calculator", || {
        let said: Vec<String> = settings()
            .iter()
            .map(|setting| lab_says(&outlook(setting, &formats())).to_string())
            .collect();
        let expected =
            "zero|indivisible|size|utilization|no room|no unit|not positive|bytes|arithmetic|room";
        let quoted = expected.split('|').map(|word| format!("\"{word}\""));
        for word in quoted.chain(["null".into()]) {
            assert!(said.iter().any(|answer| answer.contains(&word)), "no setting says {word}");
        }
    });
}

/// Mistakes that a calculator like this is likely to have: what is replaced, and by what.
const MISCALCULATIONS: [(&str, &str); 16] = [
    // A key without its value.
    ("packed(2 * model.layers * model.kvHeads", "packed(model.layers * model.kvHeads"),
    // Query heads keep no cache.
    ("model.layers * model.kvHeads * model.headDim", "model.layers * model.heads * model.headDim"),
    // GiB for GB.
    ("gigabytes * 1e9", "gigabytes * 2 ** 30"),
    // Four-bit weights at the rate of an int8 product.
    ("units.includes(\"sixteen\") ? \"sixteen\" : format.activations.unit", "format.weights.unit"),
    // The share of what is left, not of the device.
    (
        "Math.ceil(memoryBytes * utilization) - takenBytes",
        "Math.ceil((memoryBytes - takenBytes) * utilization)",
    ),
    // Scales are stored too.
    ("beside.reduce((sum, more) => sum + more, codes)", "codes"),
    // A tied head is no second table.
    ("(model.tied ? 1 : 2) * tableBytes", "2 * tableBytes"),
    // An embedding is looked up, not read.
    ("stepWeightBytes(model, format) + batch", "modelBytes(model, format) + batch"),
    // Each request brings a cache.
    ("batch * contextTokens * kvBytesPerToken", "contextTokens * kvBytesPerToken"),
    // The cache may be in fewer bits.
    ("model.headDim, kvBits);", "model.headDim, 16);"),
    // A request takes whole blocks.
    ("Math.ceil(contextTokens / blockTokens)", "contextTokens / blockTokens"),
    // Reading and arithmetic overlap.
    ("Math.max(memoryS, arithmeticS)", "memoryS + arithmeticS"),
    // Requests that do not fit do not run.
    ("Math.min(batch, Math.floor(given(fit)))", "batch"),
    // The head is multiplied with.
    ("batch * (linearS + headS)", "batch * linearS"),
    // A multiply-add is two operations.
    ("const linear = 2 * linearWeights(model)", "const linear = linearWeights(model)"),
    // Attention is arithmetic too.
    (" + attention / operationsPerS(rates, SIXTEEN)", ""),
];

#[test]
fn a_mistake_in_the_calculator_is_found() {
    if_written("mistakes in the calculator", || {
        let Some(mut browser) = start_or_skip() else { return };
        let mut tab = browser.tab().expect("a tab");
        for (right, wrong) in MISCALCULATIONS {
            let sound = scripts();
            assert_eq!(sound.matches(right).count(), 1, "the script has {right} once");
            tab.open_scripts(&sound.replace(right, wrong)).expect("the page opens");
            let found =
                miscalculations(&mut tab, &settings()).map_or(true, |found| !found.is_empty());
            assert!(found, "{wrong} in the place of {right} goes unnoticed");
        }
    });
}

// ---- the figures in their chapters

/// The pages that hold interactive figures.
fn pages() -> Vec<PathBuf> {
    let site = Site::load(&book_dir()).expect("the built book");
    let chapters = site.chapters().filter(|page| !page.select("figure.interactive").is_empty());
    let pages: Vec<PathBuf> = chapters.map(|page| site.root().join(&page.path)).collect();
    assert!(!pages.is_empty(), "no page of the book has an interactive figure");
    pages
}

/// Looks at each page at each of these widths, and fails with all that `look` finds.
fn on_every_page(widths: &[u32], look: fn(&mut Tab<'_>, &str) -> Result<Vec<String>>) {
    let Some(mut browser) = start_or_skip() else { return };
    let mut findings = Vec::new();
    for page in pages() {
        for &width in widths {
            let mut tab = browser.tab().expect("a tab");
            tab.set_width(width).expect("a width");
            let url = file_url(&page).expect("an address");
            let found = look(&mut tab, &url).unwrap_or_else(|error| vec![format!("{error:#}")]);
            let place = format!("{} at {width} px", page.display());
            findings.extend(found.iter().map(|finding| format!("{place}: {finding}")));
            findings.extend(tab.complaints().iter().map(|finding| format!("{place}: {finding}")));
        }
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// Defines `figures`, an object with a function for each question.
const QUESTIONS: &str = include_str!("../src/browser/figures.js");

/// What the page answers to a question of `figures.js`.
fn ask<T: serde::de::DeserializeOwned>(tab: &mut Tab<'_>, question: &str) -> Result<T> {
    let answer = tab.evaluate(&format!("{QUESTIONS}\nfigures.{question}"))?;
    serde_json::from_value(answer).with_context(|| format!("an answer to {question}"))
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn without_javascript_every_figure_is_as_it_was_drawn() {
    on_every_page(&[DESK, PHONE], |tab, url| {
        tab.open_without_scripts(url)?;
        let ran = tab.evaluate("typeof course !== 'undefined'")?;
        ensure!(ran == false, "the scripts of the page ran");
        ask(tab, "asDrawn()")
    });
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn on_paper_every_figure_is_as_it_was_drawn() {
    on_every_page(&[DESK], |tab, url| {
        tab.open(url)?;
        // Whatever was chosen before.
        let _: Vec<String> = ask(tab, "chooseLast()")?;
        tab.set_print(true)?;
        let findings = ask(tab, "asDrawn()")?;
        tab.set_print(false)?;
        Ok(findings)
    });
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn the_page_for_the_printer_shows_every_figure_as_it_was_drawn() {
    let Some(mut browser) = start_or_skip() else { return };
    let mut tab = browser.tab().expect("a tab");
    let url = file_url(&book_dir().join(PRINT_PAGE)).expect("an address");
    // By itself it would open the printer's dialogue, which has no use here.
    tab.open_without_scripts(&url).expect("it opens");
    tab.evaluate(&format!("{}; 0", scripts())).expect("the scripts run");
    let ids: Vec<String> = ask(&mut tab, "ids()").expect("an answer");
    assert_eq!(ids.len(), snippets::interactive::ALL.len(), "{ids:?}");
    let findings: Vec<String> = ask(&mut tab, "asDrawn()").expect("an answer");
    assert_eq!(findings, Vec::<String>::new());
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn with_javascript_every_control_has_a_label_and_a_focus_that_is_seen() {
    on_every_page(&[DESK, PHONE], |tab, url| {
        tab.open(url)?;
        ask(tab, "controls()")
    });
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn every_control_works_by_keyboard_and_reset_takes_it_back() {
    on_every_page(&[DESK], |tab, url| {
        tab.open(url)?;
        let mut findings = Vec::new();
        for id in ask::<Vec<String>>(tab, "ids()")? {
            for index in 0..ask::<usize>(tab, &format!("movables('{id}')"))? {
                findings.extend(move_and_reset(tab, &id, index)?);
            }
        }
        Ok(findings)
    });
}

/// Moves the control `index` of a figure with an arrow key, then presses its reset.
fn move_and_reset(tab: &mut Tab<'_>, id: &str, index: usize) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    let said = format!("said('{id}')");
    let before: String = ask(tab, &said)?;
    ask::<Value>(tab, &format!("focus('{id}', {index})"))?;
    tab.press("ArrowRight")?;
    let mut after: String = ask(tab, &said)?;
    if after == before {
        // A setting at its end can only go back.
        tab.press("ArrowLeft")?;
        after = ask(tab, &said)?;
    }
    if after == before {
        findings.push(format!("{id}: an arrow on control {index} does nothing"));
    }
    ask::<Value>(tab, &format!("focusReset('{id}')"))?;
    tab.press("Enter")?;
    let reset: String = ask(tab, &said)?;
    if reset != before {
        findings.push(format!("{id}: reset says «{reset}», not «{before}»"));
    }
    Ok(findings)
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn the_tab_key_walks_through_a_figure_and_out_of_it() {
    on_every_page(&[DESK], |tab, url| {
        tab.open(url)?;
        let mut findings = Vec::new();
        for id in ask::<Vec<String>>(tab, "ids()")? {
            // A group of radio buttons is one stop.
            let stops: usize = ask(tab, &format!("stops('{id}')"))?;
            ask::<Value>(tab, &format!("focusFirst('{id}')"))?;
            let mut walked = 0;
            while walked <= stops && ask::<bool>(tab, &format!("isWithin('{id}')"))? {
                walked += 1;
                tab.press("Tab")?;
            }
            if stops != walked {
                findings.push(format!("{id}: {walked} stops on the way through, not {stops}"));
            }
        }
        Ok(findings)
    });
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn a_pointer_moves_what_the_drawing_shows() {
    on_every_page(&[DESK, PHONE], |tab, url| {
        tab.open(url)?;
        let mut findings = Vec::new();
        for id in ask::<Vec<String>>(tab, "ids()")? {
            let said = format!("said('{id}')");
            let before: String = ask(tab, &said)?;
            let [left, right, middle]: [f64; 3] = ask(tab, &format!("place('{id}')"))?;
            tab.drag((left, middle), (right, middle))?;
            if ask::<String>(tab, &said)? == before {
                findings.push(format!("{id}: dragging on the drawing does nothing"));
            }
        }
        Ok(findings)
    });
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn every_setting_of_every_replay_has_a_whole_sentence_and_a_place_on_the_drawing() {
    on_every_page(&[DESK], |tab, url| {
        tab.open(url)?;
        ask(tab, "settings()")
    });
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn the_rows_of_the_grid_lose_what_the_labs_say() {
    if_written("the rows of the grid", || {
        let Some(mut browser) = start_or_skip() else { return };
        let mut tab = browser.tab().expect("a tab");
        let page = book_dir().join("start/mental-model.html");
        tab.open(&file_url(&page).expect("an address")).expect("it opens");
        let id = "interactive-grid_and_scale";
        let data: Value = ask(&mut tab, &format!("data('{id}')")).expect("its data");
        let rows = data["rows"].as_array().expect("rows").iter();
        let rows: Vec<Vec<f32>> =
            rows.map(|row| floats(&row["weights"]).expect("weights")).collect();
        let w = Array2::from_shape_fn((rows.len(), rows[0].len()), |(r, c)| rows[r][c]);
        for (grid, choice) in [(Grid::Int4, 0), (Grid::Int8, 1), (Grid::Fp8, 2)] {
            for per_row in [false, true] {
                for (set, option) in [(0, choice), (1, u8::from(per_row))] {
                    let choose = format!("choose('{id}', {set}, {option})");
                    ask::<Value>(&mut tab, &choose).expect("a choice");
                }
                let lab = round_trip(grid, per_row, &w).expect("a round trip");
                let errors = row_relative_errors(&w, &lab.back);
                let errors: Vec<String> =
                    errors.iter().map(|&error| percent(error).replace(' ', "\u{a0}")).collect();
                let [largest, median, smallest] = &errors[..] else {
                    panic!("three rows: {errors:?}")
                };
                let expected = format!("The rows lose {largest}, {median} and {smallest};");
                let says: String = ask(&mut tab, &format!("said('{id}')")).expect("a sentence");
                assert!(says.contains(&expected), "{grid:?}, {per_row}: {says}, not {expected}");
            }
        }
    });
}
