//! The tables of the k-quants: the types, what the search and the importance matrix buy, what a file is made
//! of, and what engines make of the files.

use anyhow::{Context, Result, anyhow};
use formats::architecture::{Architecture, PUBLISHED, SMOLLM2_135M};
use formats::checkpoint::Tensor;
use formats::gguf::TensorType;
use formats::gguf::k_quants::layout::{ALL, Field, Layout, Subs};
use formats::gguf::k_quants::{Search, decode, encode, encode_by};
use formats::registry::{self, Description, File, Mix, Whole, blocks};
use kit::Table;
use kit::data::normal_matrix;
use kit::meters::relative_error;
use kit::table::{count, percent, sig3};
use measure::engines;
use ndarray::Array2;

use crate::inputs::Layers;

/// Every type with a layout.
pub fn types() -> Result<Table> {
    Ok(Table::of("Blocks of GGML: what shares a scale, and bits", ALL.iter())
        .text("type", |layout| layout.kind.to_string())
        .number("weights of a block", |layout| layout.weights.to_string())
        .number("of a sub-block", |layout| layout.sub.to_string())
        .text("a sub-block's scale", |layout| scale_bits(layout))
        .number("bytes", |layout| layout.bytes().to_string())
        .number("bits a weight", |layout| bits(layout.kind).to_string())
        .done())
}

fn scale_bits(layout: &Layout) -> &'static str {
    let subs = layout.fields.iter().find_map(|field| match field {
        Field::Subs(subs) => Some(*subs),
        _ => None,
    });
    match (subs, layout.fields.contains(&Field::Minimum)) {
        (None, false) => "f16",
        (None, true) => "f16, and an f16 minimum",
        (Some(Subs::Nibbles), _) => "4 bits, and a minimum of 4",
        (Some(Subs::SixBitPairs), _) => "6 bits, and a minimum of 6",
        (Some(Subs::SixBitSigned), _) => "6 bits with a sign",
        (Some(Subs::Bytes), _) => "8 bits with a sign",
    }
}

fn bits(kind: TensorType) -> f64 {
    kind.block().map_or(0.0, |(weights, bytes)| 8.0 * bytes as f64 / weights as f64)
}

/// `w` in blocks of `kind`, and back.
fn through(
    kind: TensorType,
    w: &Array2<f32>,
    encode: impl Fn(&Layout, &[f32]) -> Result<Vec<u8>>,
) -> Result<Array2<f32>> {
    let layout = Layout::of(kind).with_context(|| format!("{kind} has a layout"))?;
    let mut values = Vec::with_capacity(w.len());
    for row in w.rows() {
        let bytes = encode(layout, &row.to_vec())?;
        bytes.chunks_exact(layout.bytes()).for_each(|block| decode(layout, block, &mut values));
    }
    Ok(Array2::from_shape_vec(w.dim(), values)?)
}

/// What the search for scales buys over the extremes, on normal numbers.
pub fn search() -> Result<Table> {
    let w = normal_matrix(24, 64, 1024);
    let error = |kind, search| -> Result<f64> {
        let encode = |layout: &Layout, row: &[f32]| {
            encode_by(layout, row, None, search).map_err(|overflow| anyhow!("{overflow:?}"))
        };
        Ok(relative_error(&w, &through(kind, &w, encode)?))
    };
    let mut rows = Vec::new();
    for kind in [TensorType::Q2_K, TensorType::Q4_K, TensorType::Q5_K] {
        rows.push((kind, error(kind, Search::Extremes)?, error(kind, Search::Full)?));
    }
    let title = "Normal numbers: a scale by the extremes of each sub-block, and llama.cpp's search";
    Ok(Table::of(title, rows)
        .text("type", |(kind, ..)| kind.to_string())
        .number("error by the extremes", |(_, extremes, _)| percent(*extremes))
        .number("error after the search", |(.., searched)| percent(*searched))
        .number("squared error, of that by the extremes", |(_, extremes, searched)| {
            percent((searched / extremes).powi(2))
        })
        .done())
}

/// What an importance matrix buys on the layers whose rows are whole super-blocks.
pub fn importance(of: &Layers) -> Result<Table> {
    let mut rows = Vec::new();
    for layer in of.0.iter().filter(|layer| layer.weight.ncols().is_multiple_of(256)) {
        let tokens = layer.calibration.nrows() as f32;
        let importance = layer.calibration.columns().into_iter();
        let importance = importance.map(|x| x.iter().map(|x| x * x).sum::<f32>() / tokens);
        let importance: Vec<f32> = importance.collect();
        for kind in [TensorType::Q2_K, TensorType::Q3_K, TensorType::Q4_K] {
            let errors = |importance: Option<&[f32]>| -> Result<[f64; 3]> {
                let encode = |layout: &Layout, row: &[f32]| {
                    encode(layout, row, importance).map_err(|overflow| anyhow!("{overflow:?}"))
                };
                let stored = through(kind, &layer.weight, encode)?;
                let outputs = |x: &Array2<f32>| {
                    relative_error(&x.dot(&layer.weight.t()), &x.dot(&stored.t()))
                };
                let weights = relative_error(&layer.weight, &stored);
                Ok([weights, outputs(&layer.calibration), outputs(&layer.held_out)])
            };
            rows.push((layer.label.clone(), kind, errors(None)?, errors(Some(&importance))?));
        }
    }
    let title = "Down projections without and with an importance matrix of 46 tokens: relative errors of the \
                 weights, and of the outputs on these tokens and on 46 others";
    let mut table = Table::of(title, rows)
        .text("layer", |(label, ..)| label.clone())
        .text("type", |(_, kind, ..)| kind.to_string());
    for (index, what) in ["weights", "outputs", "outputs of others"].into_iter().enumerate() {
        table = table
            .number(format!("{what}, without"), move |(.., without, _)| percent(without[index]))
            .number(format!("{what}, with"), move |(.., with)| percent(with[index]));
    }
    Ok(table.done())
}

/// The matrices of a model, by their Hugging Face names.
fn matrices(of: &Architecture) -> Vec<Tensor> {
    let [attention, kv] = [of.heads * of.head_dim, of.kv_heads * of.head_dim];
    let in_layer = [
        ("self_attn.q_proj", [attention, of.hidden]),
        ("self_attn.k_proj", [kv, of.hidden]),
        ("self_attn.v_proj", [kv, of.hidden]),
        ("self_attn.o_proj", [of.hidden, attention]),
        ("mlp.gate_proj", [of.intermediate, of.hidden]),
        ("mlp.up_proj", [of.intermediate, of.hidden]),
        ("mlp.down_proj", [of.hidden, of.intermediate]),
    ];
    let tensor = |name: &str, shape: [u64; 2]| blocks(name, TensorType::F32, &shape);
    let mut tensors = vec![tensor("model.embed_tokens.weight", [of.vocabulary, of.hidden])];
    for layer in 0..of.layers {
        let name = |module: &str| format!("model.layers.{layer}.{module}.weight");
        tensors.extend(in_layer.iter().map(|(module, shape)| tensor(&name(module), *shape)));
    }
    if !of.tied {
        tensors.push(tensor("lm_head.weight", [of.vocabulary, of.hidden]));
    }
    tensors
}

/// The mixes with their descriptions.
fn mixes() -> impl Iterator<Item = (&'static Description, &'static Mix)> {
    registry::ALL.into_iter().filter_map(|known| match &known.file {
        File::Mixed(mix) => Some((known, mix)),
        _ => None,
    })
}

/// A group of tensors that have one type.
struct Share {
    module: String,
    kind: TensorType,
    matrices: usize,
    weights: u64,
}

/// The tensors of a model in a mix, those of one kind of module and one type together.
fn shares(of: &Architecture, mix: &Mix) -> Vec<Share> {
    let tensors = matrices(of);
    let whole = Whole::of(&tensors);
    let mut shares: Vec<Share> = Vec::new();
    for tensor in &tensors {
        let Some(kind) = mix.kind(tensor, whole) else { continue };
        let module = tensor.name.trim_end_matches(".weight").rsplit('.').next();
        let module = module.unwrap_or_default().to_string();
        let known = shares.iter_mut().find(|share| (&share.module, share.kind) == (&module, kind));
        match known {
            Some(share) => {
                share.matrices += 1;
                share.weights += tensor.elements();
            }
            None => shares.push(Share { module, kind, matrices: 1, weights: tensor.elements() }),
        }
    }
    shares
}

/// Bits of a weight in the whole file.
fn mean_bits(shares: &[Share]) -> f64 {
    let weights: u64 = shares.iter().map(|share| share.weights).sum();
    let all: f64 = shares.iter().map(|share| share.weights as f64 * bits(share.kind)).sum();
    all / weights as f64
}

/// What a file of SmolLM2 in Q4_K_M is made of.
pub fn file() -> Result<Table> {
    let (_, mix) = mixes().find(|(known, _)| known.name == "gguf-q4_k_m").context("a mix")?;
    let shares = shares(&SMOLLM2_135M, mix);
    let all: u64 = shares.iter().map(|share| share.weights).sum();
    let mean = mean_bits(&shares);
    let title = format!("SmolLM2-135M in Q4_K_M: {mean:.2} bits a weight");
    Ok(Table::of(title, shares)
        .text("matrices", |share| share.module.clone())
        .number("how many", |share| share.matrices.to_string())
        .text("type", |share| share.kind.to_string())
        .number("bits a weight", |share| bits(share.kind).to_string())
        .number("share of the weights", move |share| percent(share.weights as f64 / all as f64))
        .done())
}

/// Bits of a weight of published models in each mix, embedding and head included.
pub fn models() -> Result<Table> {
    let title = "Bits a weight of the whole file, embedding and head included";
    let mut table = Table::of(title, PUBLISHED)
        .text("model", |(name, _)| *name)
        .number("hidden width", |(_, of)| count(of.hidden as usize));
    for (known, mix) in mixes() {
        let name = known.name.trim_start_matches("gguf-").to_uppercase();
        table = table.number(name, move |(_, of)| format!("{:.2}", mean_bits(&shares(of, mix))));
    }
    Ok(table.done())
}

/// What an engine makes of the files: the first run is the one that the others are compared with.
pub fn quality(capture: &engines::Capture) -> Result<Table> {
    let title = format!(
        "{}: the model in each mix, with and without an importance matrix",
        capture.setup.engine
    );
    let quality = |run: &engines::Run| run.quality.clone();
    Ok(Table::of(title, &capture.runs)
        .text("file", |run| run.name.clone())
        .number("bytes", |run| run.file_bytes.map_or("-".into(), |bytes| count(bytes as usize)))
        .number("perplexity", move |run| {
            quality(run).map_or("-".into(), |of| format!("{:.3}", of.perplexity))
        })
        .number("divergence (nats)", move |run| {
            quality(run).and_then(|of| of.kl_divergence).map_or("-".into(), sig3)
        })
        .number("top-1 agreement", move |run| {
            quality(run).and_then(|of| of.top1_agreement).map_or("-".into(), percent)
        })
        .done())
}

/// How fast an engine reads a prompt and writes with the files.
pub fn speed(capture: &engines::Capture) -> Table {
    let rate =
        |of: Option<&engines::Throughput>| of.map_or("-".into(), |of| sig3(of.tokens_per_s.median));
    let title = format!("{}: tokens per second with the same files", capture.setup.engine);
    let mut table = Table::of(title, &capture.runs)
        .text("file", |run| run.name.clone())
        .number(format!("reads {}", capture.plan.prefill_tokens), move |run| {
            rate(run.prefill.as_ref())
        });
    for &requests in &capture.plan.batches {
        let who = if requests == 1 { "1 writes".into() } else { format!("{requests} write") };
        table = table.number(who, move |run| rate(run.decode_of(requests)));
    }
    table.done()
}
