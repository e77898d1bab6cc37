//! What the calculator says of a setting, by the cost model of lab 02: the script's own
//! `course.outlook` is held to [`outlook`], on random settings.

use formats::architecture::Architecture;
use formats::device::{Device, Rates};
use formats::format::{Format, Grid};
use quantize_and_eval::{
    CostError, ModelFormat, Roofline, Served, bound_s, bytes_from_gb, concurrency, decode_roofline,
    kv_available_bytes, kv_blocks, kv_bytes_per_token, model_bytes, prefill_roofline,
};

/// What the reader sets.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Memory of the device, GB of 10⁹ bytes.
    pub memory_gb: f64,
    /// Its bandwidth, 10¹² bytes a second.
    pub terabytes_per_s: f64,
    /// What it multiplies at.
    pub rates: Rates,
    /// The model.
    pub architecture: Architecture,
    /// The grid of its KV cache.
    pub kv: Grid,
    /// The share of the memory that the engine asks for.
    pub utilization: f64,
    /// Tokens of a block of KV cache.
    pub block_tokens: u64,
    /// Tokens of each request, and of the prompt that is prefilled.
    pub context_tokens: u64,
    /// Requests at once.
    pub batch: u64,
}

impl Setting {
    fn device(&self) -> Result<Device, CostError> {
        Ok(Device {
            memory_bytes: bytes_from_gb(self.memory_gb)?,
            bytes_per_s: self.terabytes_per_s * 1e12,
            operations_per_s: self.rates,
        })
    }

    /// The roofline bound of decode in `format` with `batch` requests, whether the requests fit or not.
    ///
    /// # Errors
    /// As `decode_roofline`.
    pub fn decode(&self, format: &Format, batch: u64) -> Result<Step, CostError> {
        let (served, device) = (self.served(format), self.device()?);
        Step::of(decode_roofline(&served, &device, batch, self.context_tokens)?, batch)
    }

    fn served(&self, format: &Format) -> Served {
        Served { kv: self.kv, ..Served::of(self.architecture, format.clone()) }
    }
}

/// A step and the rate that it cannot exceed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The two bounds of its time.
    pub roofline: Roofline,
    /// Tokens of the step by its shortest time.
    pub tokens_per_s: f64,
}

impl Step {
    fn of(roofline: Roofline, tokens: u64) -> Result<Self, CostError> {
        Ok(Self { roofline, tokens_per_s: tokens as f64 / bound_s(roofline)? })
    }

    /// The larger of the two.
    pub fn binds(self) -> &'static str {
        if self.roofline.memory_s >= self.roofline.arithmetic_s { "bytes" } else { "arithmetic" }
    }
}

/// A format in a setting: each number, or why there is none.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// Bytes of the weights.
    pub weight_bytes: Result<u64, CostError>,
    /// Blocks of KV cache that the weights leave room for.
    pub blocks: Result<u64, CostError>,
    /// Requests that fit; the last is whole only if this is.
    pub fit: Result<f64, CostError>,
    /// A step of decode: a token for each request that runs, which are those that fit of those asked for.
    pub decode: Result<Step, CostError>,
    /// The prefill of the prompt of one request.
    pub prefill: Result<Step, CostError>,
}

/// What `format` comes to.
pub fn predict(setting: &Setting, format: &Format) -> Prediction {
    let weight_bytes = model_bytes(&setting.architecture, &ModelFormat::of(format.clone()));
    let blocks = weight_bytes.clone().and_then(|taken| {
        let memory = setting.device()?.memory_bytes;
        let left = kv_available_bytes(memory, setting.utilization, taken)?;
        let per_token = kv_bytes_per_token(&setting.architecture, setting.kv)?;
        kv_blocks(left, setting.block_tokens, per_token)
    });
    let fit = blocks
        .clone()
        .and_then(|blocks| concurrency(blocks, setting.block_tokens, setting.context_tokens));
    let running = fit.clone().and_then(|fit| match setting.batch.min(fit as u64) {
        0 => Err(CostError::Zero("the batch")),
        running => Ok(running),
    });
    let decode = running.clone().and_then(|running| setting.decode(format, running));
    let prefill = running.and_then(|_| {
        let tokens = setting.context_tokens;
        Step::of(prefill_roofline(&setting.served(format), &setting.device()?, tokens)?, tokens)
    });
    Prediction { weight_bytes, blocks, fit, decode, prefill }
}

/// The formats that are best by a meter.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// The formats that share the largest value, as indices.
    pub formats: Vec<usize>,
    /// That value.
    pub value: f64,
    /// It, as a multiple of the first format's, if that has one.
    pub gain: Option<f64>,
}

/// The best of the values that there are.
pub fn best(values: &[Option<f64>]) -> Option<Best> {
    let value = values.iter().copied().flatten().max_by(f64::total_cmp)?;
    let formats = (0..values.len()).filter(|&index| values[index] == Some(value)).collect();
    let first = values.first().copied().flatten();
    Some(Best { formats, value, gain: first.map(|first| value / first) })
}

/// All formats in a setting, and what decides between them.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// A prediction for each format.
    pub predictions: Vec<Prediction>,
    /// What the first format runs out of: room, bytes or arithmetic. `None` if no bound is known.
    pub binds: Option<&'static str>,
    /// The formats with room for most whole requests, of those formats that run.
    pub room: Option<Best>,
    /// The formats of fastest decode.
    pub decode: Option<Best>,
    /// The formats of fastest prefill.
    pub prefill: Option<Best>,
}

/// What `formats` come to. The first is the one that the others are compared with.
pub fn outlook(setting: &Setting, formats: &[Format]) -> Outlook {
    let predictions: Vec<_> = formats.iter().map(|format| predict(setting, format)).collect();
    let best_of = |value: fn(&Prediction) -> Option<f64>| {
        best(&predictions.iter().map(value).collect::<Vec<_>>())
    };
    Outlook {
        binds: predictions.first().and_then(|first| binds(first, setting.batch)),
        room: best_of(|it| it.decode.as_ref().ok().and(it.fit.clone().ok()).map(f64::floor)),
        decode: best_of(|it| it.decode.as_ref().ok().map(|step| step.tokens_per_s)),
        prefill: best_of(|it| it.prefill.as_ref().ok().map(|step| step.tokens_per_s)),
        predictions,
    }
}

/// What a format runs out of with `batch` requests.
fn binds(prediction: &Prediction, batch: u64) -> Option<&'static str> {
    match (&prediction.fit, &prediction.decode) {
        (Err(CostError::NoRoom { .. }), _) => Some("room"),
        (Ok(fit), _) if fit.floor() < batch as f64 => Some("room"),
        (_, Ok(step)) => Some(step.binds()),
        _ => None,
    }
}
