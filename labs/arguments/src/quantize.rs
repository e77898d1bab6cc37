//! The arguments of `cargo book quantize`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::builder::{PossibleValue, PossibleValuesParser};
use formats::bytes::Float;
use formats::format::Ends;
use formats::registry::{self, ActivationFormat, Description, File, Granularity, StorageFormat};
use kit::workspace::{fetched_model, target};

use crate::existing;

/// What to write.
#[derive(clap::Args)]
pub struct Args {
    /// The format.
    #[arg(long, value_parser = PossibleValuesParser::new(formats()))]
    pub scheme: String,
    /// Weights of a row that share a scale, where the format leaves that open.
    #[arg(long, default_value_t = 64, help = group_size_help())]
    pub group_size: u64,
    /// Fold SmoothQuant in, with this alpha: for w8a8.
    #[arg(long, value_name = "ALPHA")]
    pub smooth: Option<f32>,
    /// Rotate the model before anything is rounded, with lab 10's matrices.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "r1,r2,r4")]
    pub rotate: Vec<Rotate>,
    /// Decides the random signs of --rotate.
    #[arg(long, default_value_t = SEED, value_name = "NUMBER")]
    pub rotate_seed: u64,
    /// How inputs of layers are quantized, where that is not what the format says.
    #[arg(long, value_parser = PossibleValuesParser::new(activations()), value_name = "FORMAT")]
    pub activations: Option<String>,
    /// How codes are chosen.
    #[arg(long, value_enum, default_value_t = Method::Nearest)]
    pub method: Method,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would be the help of the command")]
    pub gptq: Gptq,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would be the help of the command")]
    pub awq: Awq,
    /// How much the error of each column counts: a file of `cargo book imatrix` or of llama-imatrix, for the
    /// mixes of k-quants.
    #[arg(long, value_name = "FILE.gguf", value_parser = existing)]
    pub imatrix: Option<PathBuf>,
    /// Give each matrix a type of blocks by what the model minds, within so many bits a weight of the decoder layers,
    /// instead of by the rules of the mix: for the mixes of k-quants, with --imatrix or --method gptq.
    #[arg(long, value_name = "BITS")]
    pub bits: Option<f64>,
    /// Add calibrated scales for an FP8 cache, which an engine then uses.
    #[arg(long, value_name = "FORMAT", value_parser = ["fp8"])]
    pub kv: Option<String>,
    /// Calibrate on this text instead of the course's: a licence for --smooth, Paradise Lost for
    /// GPTQ, AWQ, static activations and --kv. No meter scores them.
    #[arg(long, value_name = "FILE", value_parser = existing)]
    pub calibration: Option<PathBuf>,
    /// A Hugging Face folder or a GGUF file; without it, the model that `cargo book fetch` got.
    #[arg(long, value_name = "DIR|GGUF")]
    pub input: Option<PathBuf>,
    /// The folder to make; without it, target/checkpoints/SCHEME (SCHEME-METHOD).
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What is not quantized is stored as this: f16, bf16 or f32.
    #[arg(long, default_value = "f16")]
    pub dtype: String,
    /// Bytes of data in a file of weights, at most [default: 5000000000].
    #[arg(long, value_name = "BYTES")]
    pub shard_bytes: Option<u64>,
    /// Leave linear layers that cannot be divided in floats, instead of refusing.
    #[arg(long)]
    pub leave_out: bool,
    /// Take an input that is quantized already. (The fetched model is, and is taken.)
    #[arg(long)]
    pub requantize: bool,
    /// Measure the perplexity of the result on the course's passage.
    #[arg(long)]
    pub perplexity: bool,
}

/// The default of `--rotate-seed`.
const SEED: u64 = 1;

/// A rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Rotate {
    /// The residual stream: every matrix takes it up, the norms become ones, the head its own matrix.
    R1,
    /// The values of each head: v and o take it up.
    R2,
    /// The inputs of down_proj, while the model runs: a file that says so, for this course's engine.
    R4,
}

/// How codes are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Method {
    /// The nearest code.
    Nearest,
    /// The nearest code, with lab 03's search for the scale of each group.
    Search,
    /// Lab 06's rounding with feedback.
    Gptq,
    /// Lab 07's scales from the activations, then the nearest code.
    Awq,
    /// Lab 07's scales from the activations, each candidate tried with feedback, then lab 06's rounding.
    #[value(name = "awq+gptq")]
    AwqGptq,
}

impl Method {
    /// What the default folder has behind the name of the format, so that two methods can be compared.
    fn suffix(self) -> &'static str {
        match self {
            Self::Nearest => "",
            Self::Search => "-search",
            Self::Gptq => "-gptq",
            Self::Awq => "-awq",
            Self::AwqGptq => "-awq+gptq",
        }
    }

    /// Whether lab 06 chooses the codes.
    pub fn is_gptq(self) -> bool {
        matches!(self, Self::Gptq | Self::AwqGptq)
    }

    /// Whether lab 07 scales the tensors.
    pub fn is_awq(self) -> bool {
        matches!(self, Self::Awq | Self::AwqGptq)
    }

    /// Whether codes of `format` can be chosen so.
    fn is_for(self, format: &Description) -> bool {
        match self {
            Self::Nearest => true,
            Self::Search => format.is_int_in_chosen_groups(),
            Self::Awq | Self::AwqGptq => format.is_int4_in_chosen_groups(),
            Self::Gptq => format.refuses_feedback().is_none(),
        }
    }

    /// Refuses a format that is not for the method.
    fn check(self, format: StorageFormat) -> Result<()> {
        let fits = registry::ALL.into_iter().filter(|known| self.is_for(known));
        let fits: Vec<_> = fits.map(|known| known.name).collect();
        let name = self.suffix().trim_start_matches('-');
        let reason = format.description.refuses_feedback().filter(|_| self == Self::Gptq);
        let because = reason.map(|reason| format!(", because {reason}")).unwrap_or_default();
        ensure!(
            self.is_for(format.description),
            "--method {name} is for {}, not {format}{because}: take one of these formats, or --method nearest",
            fits.join(", ")
        );
        Ok(())
    }
}

/// The choices of GPTQ.
#[derive(Clone, Debug, PartialEq, clap::Args)]
#[command(next_help_heading = "With --method gptq")]
pub struct Gptq {
    /// Tokens of the calibration text, from its start.
    #[arg(long, default_value_t = Self::default().tokens)]
    pub tokens: usize,
    /// Round the columns with large inputs first.
    #[arg(long)]
    pub act_order: bool,
    /// Round the inputs of a layer one after the other, so that every Hessian sees the rounded weights before.
    #[arg(long)]
    pub sequential: bool,
    /// Where the scales of groups come from. Fresh ones and --act-order exclude each other.
    #[arg(long, value_enum, default_value_t = Scales::Static)]
    pub scales: Scales,
    /// Fit scales and codes again after GPTQ, each to the other, so many times.
    #[arg(long, default_value_t = 0)]
    pub sweeps: usize,
    /// The share of the mean of the diagonal that is added to it.
    #[arg(long, default_value_t = Self::default().damping)]
    pub damping: f64,
    /// The grid of integers in groups. int4: absmax over 7 (lab 03's, codes -7 to 7, the default) or over 7.5
    /// (llm-compressor's, codes -8 to 7). int3: over 3 (codes -3 to 3, the default) or over 3.5 (codes -4 to
    /// 3).
    #[arg(long, value_name = "NUMBER")]
    pub absmax_over: Option<f32>,
}

/// The choices of AWQ.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "With --method awq or awq+gptq")]
pub struct Awq {
    /// Search with the formula of AutoAWQ and llm-compressor, which divides by the weights' magnitudes too.
    #[arg(long)]
    pub duo: bool,
    /// Do not clip weights. (awq+gptq never does, because GPTQ would take the clipped weights for the
    /// original.)
    #[arg(long)]
    pub no_clip: bool,
    /// Codes 0 to 15 with a zero point for each group: for --scheme awq or w4a16-asym and --method awq.
    #[arg(long)]
    pub zero_point: bool,
}

/// Where the scales of groups come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scales {
    /// From the largest weight, before anything is rounded.
    Static,
    /// From the largest weight when the first column of the group is rounded.
    Fresh,
    /// From a search for the least error, before anything is rounded.
    Search,
}

impl Default for Gptq {
    fn default() -> Self {
        Self {
            tokens: 16_384,
            act_order: false,
            sequential: false,
            scales: Scales::Static,
            sweeps: 0,
            damping: 0.01,
            absmax_over: None,
        }
    }
}

impl Args {
    /// The format.
    ///
    /// # Errors
    /// If there is no such format or group size.
    pub fn format(&self) -> Result<StorageFormat> {
        Ok(StorageFormat::named(&self.scheme, self.group_size)?)
    }

    /// The type of what is not quantized.
    ///
    /// # Errors
    /// If there is no such type.
    pub fn float(&self) -> Result<Float> {
        float(&self.dtype)
    }

    /// The model that is quantized.
    pub fn input(&self) -> PathBuf {
        self.input.clone().unwrap_or_else(fetched_model)
    }

    /// The folder to make.
    pub fn out(&self) -> PathBuf {
        let kv = self.kv.as_ref().map_or(String::new(), |kv| format!("-kv-{kv}"));
        let rotate = self.rotate.iter().map(|rotation| format!("-{rotation:?}").to_lowercase());
        let rotate: String = rotate.collect();
        let inputs = self.activations.as_ref().map_or(String::new(), |name| format!("-a-{name}"));
        let imatrix = if self.imatrix.is_some() { "-imatrix" } else { "" };
        let bits = self.bits.map_or(String::new(), |bits| format!("-{bits}-bits"));
        let method = self.method.suffix();
        let name = || format!("{}{bits}{method}{rotate}{inputs}{kv}{imatrix}", self.scheme);
        self.out.clone().unwrap_or_else(|| target("checkpoints").join(name()))
    }

    /// Checks names, the input and the target.
    pub(crate) fn check(&self) -> Result<()> {
        let format = self.format()?;
        self.float()?;
        ensure!(
            self.smooth.is_none() || format.takes_a_transform(),
            "--smooth is for w8a8, where activations are quantized, not {format}"
        );
        self.method.check(format)?;
        self.check_rotation(format)?;
        self.check_calibration()?;
        self.check_scales(format)?;
        self.ends(format)?;
        ensure!(
            self.kv.is_none() || format.takes_kv_scales(),
            "--kv is for formats with compressed-tensors' config, which has a place for the scales of a \
             cache, and for none; {format} has another config"
        );
        ensure!(
            self.imatrix.is_none() || matches!(format.description.file, File::Mixed(_)),
            "--imatrix is for the mixes of k-quants, as gguf-q4_k_m, not {format}"
        );
        ensure!(
            self.bits.is_none() || matches!(format.description.file, File::Mixed(_)),
            "--bits chooses a type for each matrix: for the mixes of k-quants, as gguf-q4_k_m, not {format}"
        );
        ensure!(
            self.bits.is_none() || self.imatrix.is_some() || self.method.is_gptq(),
            "--bits measures codes that are chosen by how much an input counts, and nearest codes in such a mix are \
             far worse: add --imatrix FILE or --method gptq"
        );
        ensure!(
            self.bits.is_none() || self.rotate.is_empty(),
            "--bits measures the model as it is: leave out --rotate"
        );
        let (input, out) = (self.input(), self.out());
        ensure!(
            input.exists(),
            "{} is not there: run `cargo book fetch`, or name a model with --input",
            input.display()
        );
        ensure!(
            out.symlink_metadata().is_err(),
            "{} is there already: remove it, or write elsewhere with --out",
            out.display()
        );
        Ok(())
    }

    /// Whether a rotation was asked for.
    pub fn rotates(&self, rotation: Rotate) -> bool {
        self.rotate.contains(&rotation)
    }

    /// How the inputs of layers are quantized, where that is asked.
    pub fn activation_format(&self) -> Option<ActivationFormat> {
        self.activations.as_deref().and_then(ActivationFormat::named)
    }

    /// Refuses what does not go with a rotation, and activations that the config cannot name.
    fn check_rotation(&self, format: StorageFormat) -> Result<()> {
        if let Some(activations) = self.activation_format() {
            activations.check(format)?;
        }
        let other = if self.smooth.is_some() {
            Some("--smooth")
        } else {
            self.method.is_awq().then_some("--method awq")
        };
        if let (Some(other), false) = (other, self.rotate.is_empty()) {
            bail!(
                "{other} scales channels, which a rotation mixes: leave out --rotate, or {other}"
            );
        }
        ensure!(
            !self.rotates(Rotate::R4) || format.takes_transform_config(),
            "--rotate r4 is computed while the model runs, and only compressed-tensors' config can say so; \
             {format} has another: take a format of compressed-tensors, or r1,r2"
        );
        ensure!(
            !self.rotate.is_empty() || self.rotate_seed == SEED,
            "--rotate-seed decides the signs of rotations: add --rotate r1,r2, or leave it out"
        );
        Ok(())
    }

    /// Refuses choices of a calibration that does not take place.
    fn check_calibration(&self) -> Result<()> {
        let (gptq, awq) = (self.method.is_gptq(), self.method.is_awq());
        let Gptq { tokens, absmax_over, .. } = self.gptq.clone();
        let for_awq = Gptq { tokens, absmax_over, ..Gptq::default() };
        let for_kv = Gptq { tokens, ..Gptq::default() };
        ensure!(
            gptq || self.gptq == Gptq::default()
                || (awq && self.gptq == for_awq)
                || (self.calibrates_scales() && self.gptq == for_kv)
                || (self.bits.is_some() && self.gptq == for_kv),
            "--tokens, --act-order, --sequential, --scales, --sweeps, --damping and --absmax-over are \
             choices of GPTQ (the first and the last also of AWQ, the first also of --bits, of --kv and of \
             static activations): add \
             --method gptq, or leave them out"
        );
        ensure!(
            awq || self.awq == Awq::default(),
            "--duo, --no-clip and --zero-point are choices of AWQ: add --method awq, or leave them out"
        );
        ensure!(
            !self.awq.zero_point
                || (self.method == Method::Awq
                    && registry::WITH_ZERO_POINTS.contains(&self.scheme.as_str())),
            "--zero-point is for --scheme awq or w4a16-asym and --method awq: other layouts store no zero points here, and \
             lab 06 has no grid with them"
        );
        ensure!(
            !(self.gptq.act_order && self.gptq.scales == Scales::Fresh),
            "--act-order takes the columns of a group at different times, so a fresh scale cannot be \
             computed when the group begins: add --scales static or search"
        );
        ensure!(
            !((gptq || awq) && self.smooth.is_some()),
            "--method gptq and awq take the inputs of the model as it is: leave out --smooth"
        );
        ensure!(
            gptq || awq
                || self.smooth.is_some()
                || self.calibrates_scales()
                || self.bits.is_some()
                || self.calibration.is_none(),
            "nothing is calibrated: add --smooth ALPHA, --method gptq or awq, --kv fp8, --activations \
             int8-static, or leave out \
             --calibration"
        );
        Ok(())
    }

    /// Where the grid of integers in groups ends.
    ///
    /// # Errors
    /// If the format has no grid with such an end.
    pub fn ends(&self, format: StorageFormat) -> Result<Ends> {
        let Some(over) = self.gptq.absmax_over else { return Ok(Ends::Equal) };
        let description = format.description;
        ensure!(
            description.is_int_in_chosen_groups(),
            "--absmax-over is for integers in groups of a chosen size, not {format}: leave this option out"
        );
        let bits = description.weights.bits();
        Ends::ALL.into_iter().find(|ends| ends.divisor(bits) == over).with_context(|| {
            let [equal, all] = Ends::ALL.map(|ends| ends.divisor(bits));
            format!("--absmax-over {over} is not for {format}: {bits} bits have {equal} and {all}")
        })
    }

    /// Whether scales of a cache or of inputs are calibrated.
    fn calibrates_scales(&self) -> bool {
        self.kv.is_some() || self.activation_format().is_some_and(ActivationFormat::is_calibrated)
    }

    /// Refuses choices for the scales of integers where codes are floats, whose scales are those of the nearest
    /// codes.
    fn check_scales(&self, format: StorageFormat) -> Result<()> {
        let Gptq { scales, sweeps, absmax_over, .. } = Gptq::default();
        let own = (&self.gptq.scales, self.gptq.sweeps, &self.gptq.absmax_over);
        ensure!(
            format.description.elements().is_none() || own == (&scales, sweeps, &absmax_over),
            "--scales, --sweeps and --absmax-over are for integers, and {format} has codes that are floats, whose \
             scales are those of the nearest codes: leave these options out"
        );
        Ok(())
    }
}

/// The formats with their lines of help.
fn formats() -> [PossibleValue; registry::ALL.len()] {
    registry::ALL.map(|known| PossibleValue::new(known.name).help(known.about))
}

/// The formats of activations with their lines of help.
fn activations() -> [PossibleValue; ActivationFormat::ALL.len()] {
    ActivationFormat::ALL.map(|known| PossibleValue::new(known.name).help(known.about))
}

/// The help of `--group-size`, which names the formats whose group size is chosen.
fn group_size_help() -> String {
    let chosen = |known: &&registry::Description| known.granularity == Granularity::ChosenGroup;
    let names: Vec<_> = registry::ALL.into_iter().filter(chosen).map(|known| known.name).collect();
    format!(
        "Weights of a row that share a scale, for {}. (128 does not divide SmolLM2's 576.)",
        names.join(", ")
    )
}

fn float(name: &str) -> Result<Float> {
    Ok(match name {
        "f16" | "float16" => Float::F16,
        "bf16" | "bfloat16" => Float::Bf16,
        "f32" | "float32" => Float::F32,
        other => anyhow::bail!("there is no dtype `{other}`; there are: f16, bf16, f32"),
    })
}
