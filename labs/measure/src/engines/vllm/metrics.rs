//! The page `/metrics`, in the text format of Prometheus.

use std::collections::BTreeMap;

use crate::engines::EngineError;
use crate::engines::engine_meters::KvCache;

/// A meter's value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The meter, `vllm:prompt_tokens_total`.
    pub name: String,
    /// What tells it from others of its name.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// All meters of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    samples: Vec<Sample>,
}

impl Metrics {
    /// Reads a page.
    ///
    /// # Errors
    /// If a line is no sample; the message shows it.
    pub fn parse(text: &str) -> Result<Self, EngineError> {
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        let samples = lines.map(|line| {
            let shown: String = line.chars().take(200).collect();
            sample(line).ok_or_else(|| EngineError::unreadable("a line of /metrics", shown))
        });
        Ok(Self { samples: samples.collect::<Result<_, _>>()? })
    }

    /// The samples of one meter.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// The sum of a meter over its labels (engines, mostly): for counters, and for gauges that add
    /// up. `None` if there is none of that name.
    pub fn sum(&self, name: &str) -> Option<f64> {
        self.named(name).map(|sample| sample.value).reduce(|sum, value| sum + value)
    }

    /// The KV cache.
    ///
    /// # Errors
    /// If `vllm:cache_config_info` is missing, or does not say how many blocks there are.
    pub fn kv_cache(&self) -> Result<KvCache, EngineError> {
        const NAME: &str = "vllm:cache_config_info";
        let info = self.named(NAME).next();
        let info = info.ok_or_else(|| EngineError::unreadable("/metrics", format!("no {NAME}")))?;
        // What is not set is written `None`.
        let number = |label: &str| info.labels.get(label)?.parse::<u64>().ok();
        let needed = |label: &str| {
            let missing = || EngineError::unreadable(NAME, format!("no number `{label}`"));
            number(label).ok_or_else(missing)
        };
        Ok(KvCache {
            block_tokens: needed("block_size")?,
            // On the processor too they are called `num_gpu_blocks`.
            blocks: needed("num_gpu_blocks")?,
            counted: true,
            token_bytes: None,
            memory_bytes: number("kv_cache_memory_bytes"),
            cache_dtype: info.labels.get("cache_dtype").cloned(),
        })
    }
}

/// `name{label="text",...} value`, with a time behind it that nobody needs here.
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.into(), labels, value })
}

/// The labels up to `}`, and what stands behind it.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        // A comma may also stand behind the last label.
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.insert(name.trim().to_string(), value);
        rest = after;
    }
}

/// A text up to its closing quote, and what stands behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            // The text format knows `\\`, `\"` and `\n`.
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}
