//! The calculator: lab 02's cost model with knobs. Its script computes; [`super::outlook`] has the
//! functions that it is held to.

use anyhow::{Context, Result, bail};
use formats::architecture::{Architecture, LLAMA31_8B, PUBLISHED};
use formats::device::{self, Rates};
use formats::format::Group;
use formats::format::{Format, Grid};
use kit::table::{count, sig3, times};
use quantize_and_eval::{BLOCK_TOKENS, CostError, UTILIZATION};
use serde_json::{Value, json};

use super::outlook::{Best, Outlook, Setting, outlook};
use super::{Interactive, Picture};
use crate::figures::{Axis, Drawing, Figure, Ink, Key, Layout, Mark, Pen, Plot, Shape, draw};

/// Where the sliders can be: tokens of a request, and requests at once.
const CONTEXTS: [u64; 10] = [256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072];
const BATCHES: [u64; 20] =
    [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024];
/// Where they begin.
const CONTEXT: usize = 3;
const BATCH: usize = 7;
/// GB and TB/s that the sliders reach, and their steps.
const MEMORY: [f64; 3] = [4.0, 192.0, 1.0];
const BANDWIDTH: [f64; 3] = [0.02, 9.0, 0.01];
/// The largest multiple of bf16's roofline bound on the drawing. A line that is higher lies at the top: FP4
/// on a desktop card, whose sums of 16-bit products run at half rate, can reach twice that.
const MOST: f64 = 4.0;

/// What is compared, the base first, and how its line looks. int8 and FP8 often are one line.
fn lines() -> [(Format, Pen); 5] {
    [
        (Format::BF16, Pen::dotted(Ink::Muted)),
        (Format::W8A8, Pen::solid(Ink::One)),
        (Format::FP8, Pen::dashed(Ink::Four)),
        (Format::w4a16(128), Pen::solid(Ink::Two)),
        (Format::NVFP4, Pen::dashed(Ink::Three)),
    ]
}

/// What the calculator shows first: Llama-3.1-8B on an H100.
fn start() -> Setting {
    let device = device::H100;
    Setting {
        memory_gb: device.memory_bytes as f64 / 1e9,
        terabytes_per_s: device.bytes_per_s / 1e12,
        rates: device.operations_per_s,
        architecture: LLAMA31_8B,
        kv: Grid::Sixteen,
        utilization: UTILIZATION,
        block_tokens: BLOCK_TOKENS,
        context_tokens: CONTEXTS[CONTEXT],
        batch: BATCHES[BATCH],
    }
}

/// The cost model with knobs.
pub fn calculator() -> Result<Interactive> {
    let setting = start();
    let formats = lines().map(|(format, _)| format);
    let out = outlook(&setting, &formats);
    let (drawing, places) = plot(&setting, true)?;
    let (empty, _) = plot(&setting, false)?;
    let asked = format!(
        "Llama-3.1-8B on an H100, {} tokens a request",
        count(usize::try_from(setting.context_tokens)?)
    );
    Ok(Interactive {
        figure: Figure {
            title: "Roofline bounds of decode of five formats, as multiples of bf16's".into(),
            caption: format!(
                "Computed from published bandwidth and rates, nothing measured: {asked}. A line is thick as far \
                 as its requests fit into memory, and a dot is where room ends. NVFP4 has a line on \
                 a device with FP4 units, as the B200. At {} requests {}.",
                setting.batch,
                verdict(&out, &formats)?,
            ),
            alt: format!(
                "Requests at once from 1 to 1,024, logarithmic, against the roofline bound of decode as a \
                 multiple of bf16's. {asked}. W4A16 g128 starts highest, W8A8 and FP8 are one line \
                 under it, and both come down towards 1 as requests bring caches of their own. At \
                 {} requests {}.",
                setting.batch,
                verdict(&out, &formats)?,
            ),
            drawing,
        },
        predict: format!(
            "{asked}, {} requests at once. Which format writes fastest, and by how much over bf16? \
             Which has room for most requests? Which reads a prompt fastest?",
            setting.batch
        ),
        then: "Then turn the knobs: find a setting in which arithmetic binds, one in which room \
               does, and one in which four bits win nothing. Drag on the drawing for more requests."
            .into(),
        others: vec![Picture {
            title:
                "Roofline bounds of decode in the setting that you chose, as multiples of bf16's"
                    .into(),
            alt: "A line for each format, thick as far as its requests fit, with a ring at the \
                  number of requests that you chose. The table under the drawing has the numbers."
                .into(),
            drawing: empty,
        }],
        widget: "calculator",
        data: data(&places)?,
    })
}

/// Who wins which meter, as a part of a sentence.
fn verdict(out: &Outlook, formats: &[Format]) -> Result<String> {
    let binds = match out.binds.context("bf16 has a bound")? {
        "bytes" => "bytes bind",
        "arithmetic" => "arithmetic binds",
        _ => "room binds",
    };
    let won = |best: &Option<Best>, unit: &str| -> Result<String> {
        let best = best.as_ref().context("a format has it")?;
        let names: Vec<&str> =
            best.formats.iter().filter_map(|&at| Some(&*formats.get(at)?.name)).collect();
        let gain = best.gain.context("bf16 has it")?;
        let digits = sig3(best.value);
        let shown = digits.parse::<usize>().map_or(digits, count);
        Ok(format!("{}: {shown} {unit}, {} bf16", names.join(" and "), times(gain)))
    };
    Ok(format!(
        "{binds} bf16. Most room has {}. The highest bound of decode has {}, of prefill {}",
        won(&out.room, "requests")?,
        won(&out.decode, "tokens/s")?,
        won(&out.prefill, "tokens/s")?,
    ))
}

// ---- what the script is given

fn data(places: &Places) -> Result<Value> {
    let formats = lines().into_iter().map(|(format, pen)| {
        let mut value = format_json(&format)?;
        value["ink"] = json!(pen.ink.variable());
        value["dash"] = json!(pen.dash.array());
        Ok(value)
    });
    let devices = device::PUBLISHED.iter().map(|(name, device)| {
        json!({
            "name": name,
            "memoryGb": device.memory_bytes as f64 / 1e9,
            "terabytesPerS": device.bytes_per_s / 1e12,
            "rates": rates_json(&device.operations_per_s),
        })
    });
    let model = |(name, model): &(&str, Architecture)| {
        let mut value = model_json(model);
        value["name"] = json!(name);
        value
    };
    let at = |found: Option<usize>| found.context("the calculator starts with a published one");
    let start = start();
    let rates = start.rates;
    Ok(json!({
        "formats": formats.collect::<Result<Vec<_>>>()?,
        "devices": devices.collect::<Vec<_>>(),
        "models": PUBLISHED.iter().map(model).collect::<Vec<_>>(),
        "contexts": CONTEXTS,
        "batches": BATCHES,
        "caches": [["16 bits", 16], ["FP8", 8]],
        "memory": MEMORY,
        "bandwidth": BANDWIDTH,
        "utilization": start.utilization,
        "blockTokens": start.block_tokens,
        "start": {
            "device": at(device::PUBLISHED.iter().position(|(_, device)|
                device.operations_per_s == rates && device.memory_bytes == device::H100.memory_bytes))?,
            "model": at(PUBLISHED.iter().position(|(_, model)| *model == start.architecture))?,
            "context": CONTEXT,
            "batch": BATCH,
            "cache": 0,
        },
        "plot": {
            "from": places.from,
            "to": places.to,
            "most": MOST,
            "zero": places.zero,
            "top": places.top,
        },
    }))
}

/// A format as the script takes it: for each operand its bits and the unit that multiplies it, and
/// the overhead bits of each row or of each group.
///
/// # Errors
/// If it is a format that the script does not know.
pub fn format_json(format: &Format) -> Result<Value> {
    let grid = |grid: Grid| -> Result<Value> {
        let unit = match grid {
            Grid::Sixteen => "sixteen",
            Grid::E4M3 => "fp8",
            Grid::E2M1 => "fp4",
            Grid::Int(..=8) => "int8",
            other => bail!("the calculator knows no {other:?}"),
        };
        Ok(json!({ "unit": unit, "bits": grid.bits() }))
    };
    let overhead = format.overhead.iter().map(|part| match part.per {
        Group::Channel => Ok(json!({ "bits": part.bits, "group": null })),
        Group::Size(size) => Ok(json!({ "bits": part.bits, "group": size })),
        other => bail!("the calculator knows no {other:?}"),
    });
    Ok(json!({
        "name": format.name,
        "weights": grid(format.weights)?,
        "activations": grid(format.activations)?,
        "shared": overhead.collect::<Result<Vec<_>>>()?,
    }))
}

/// A model as the script takes it.
pub fn model_json(model: &Architecture) -> Value {
    json!({
        "layers": model.layers,
        "hidden": model.hidden,
        "intermediate": model.intermediate,
        "heads": model.heads,
        "kvHeads": model.kv_heads,
        "headDim": model.head_dim,
        "vocabulary": model.vocabulary,
        "tied": model.tied,
        "qkvBias": model.qkv_bias,
        "qkNorm": model.qk_norm,
    })
}

/// Rates as the script takes them; one that is not there is null.
pub fn rates_json(rates: &Rates) -> Value {
    json!({ "sixteen": rates.sixteen, "fp8": rates.fp8, "int8": rates.int8, "fp4": rates.fp4 })
}

/// A setting as the script takes it.
pub fn setting_json(setting: &Setting) -> Value {
    json!({
        "memoryGb": setting.memory_gb,
        "terabytesPerS": setting.terabytes_per_s,
        "rates": rates_json(&setting.rates),
        "model": model_json(&setting.architecture),
        "kvBits": setting.kv.bits(),
        "utilization": setting.utilization,
        "blockTokens": setting.block_tokens,
        "contextTokens": setting.context_tokens,
        "batch": setting.batch,
    })
}

// ---- the drawing

/// Where things are on the canvas.
struct Places {
    /// One request and the most, along the x axis.
    from: i32,
    to: i32,
    /// 0 and [`MOST`], along the y axis.
    zero: i32,
    top: i32,
}

/// Multiples of bf16's roofline bound against requests, with the lines or without them.
fn plot(setting: &Setting, with_lines: bool) -> Result<(Drawing, Places)> {
    let most = BATCHES[BATCHES.len() - 1] as f64;
    let ticks = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0];
    let x = Axis::log("requests at once (logarithmic)", 1.0..most)
        .ticks(ticks, |value| count(value as usize));
    let y = Axis::linear("bound of decode, as a multiple of bf16's", 0.0..MOST)
        .ticks([0.0, 1.0, 2.0, 3.0, 4.0], |value| format!("{value}x"));
    let mut places = Places { from: 0, to: 0, zero: 0, top: 0 };
    let drawing = draw(Layout { right: 260, ..Layout::with_legend(2) }, x, y, |plot| {
        let lines = lines();
        if with_lines {
            for (format, pen) in &lines {
                line(plot, setting, format, *pen)?;
            }
        }
        (places.from, places.zero) = plot.at(1.0, 0.0)?;
        (places.to, places.top) = plot.at(most, MOST)?;
        let keys: Vec<_> =
            lines.iter().map(|(format, pen)| Key::Line(*pen, &format.name)).collect();
        plot.legend(1, &keys[..3])?;
        plot.legend(2, &keys[3..])
    })?;
    Ok((drawing, places))
}

/// The line of a format: thick with the requests that fit, thin beyond them.
fn line(plot: &Plot<'_>, setting: &Setting, format: &Format, pen: Pen) -> Result<()> {
    if let Err(CostError::NoRate(_)) = setting.decode(format, 1) {
        return Ok(());
    }
    let room = super::outlook::predict(setting, format).fit? as u64;
    let point = |batch: u64| -> Result<(f64, f64)> {
        let [own, base] = [format, &Format::BF16].map(|format| setting.decode(format, batch));
        Ok((batch as f64, own?.tokens_per_s / base?.tokens_per_s))
    };
    let most = BATCHES[BATCHES.len() - 1];
    let end = room.clamp(1, most);
    // Powers of the fourth root of two, as whole numbers.
    let steps = (0..=40).map(|step| libm::exp2(f64::from(step) / 4.0).round() as u64);
    let mut batches: Vec<u64> = steps.chain([end, most]).filter(|&batch| batch <= most).collect();
    batches.sort_unstable();
    batches.dedup();
    let points = |keep: &dyn Fn(u64) -> bool| -> Result<Vec<_>> {
        batches.iter().copied().filter(|&batch| keep(batch)).map(point).collect()
    };
    plot.line(points(&|batch| batch <= end)?, pen)?;
    plot.hairline(points(&|batch| batch >= end)?, pen)?;
    if room < most {
        plot.marks([point(end)?], Mark::new(Shape::Dot, pen.ink).sized(60))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quantize_and_eval::Served;
    use quantize_and_eval::decode_tokens_per_s;

    #[test]
    fn the_first_setting_is_the_published_device_and_the_lab_itself() -> Result<()> {
        let (setting, data) = (start(), calculator()?.data);
        let from = &data["start"];
        let device = &data["devices"][from["device"].as_u64().context("an index")? as usize];
        assert_eq!(device["name"], "H100 SXM");
        let lab = decode_tokens_per_s(
            &Served::of(LLAMA31_8B, Format::FP8),
            &device::H100,
            setting.batch,
            setting.context_tokens,
        )?;
        assert_eq!(setting.decode(&Format::FP8, setting.batch)?.tokens_per_s, lab);
        Ok(())
    }
}
