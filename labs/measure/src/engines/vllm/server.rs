//! A vLLM that is started for a checkpoint, and stopped with all its processes.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::vllm_log::complaint;
use super::{Client, facts};
use crate::engines::EngineError;
use crate::engines::http::Http;
use crate::engines::process::{self, Running};
use crate::engines::resident::Resident;

/// The name that the checkpoint is served by, whatever its folder is called.
const SERVED_AS: &str = "checkpoint";
/// How long a question whether the server is ready may take.
const GLANCE: Duration = Duration::from_secs(5);
/// How often that is asked.
const PAUSE: Duration = Duration::from_millis(200);

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program `vllm`.
    pub program: PathBuf,
    /// The folder with `config.json`, the weights and the tokenizer.
    pub model: PathBuf,
    /// `--dtype`: what activations and unquantized weights are. `auto` turns a checkpoint in
    /// `float32` into `bfloat16`.
    pub dtype: String,
    /// `--max-model-len`, tokens; a prompt that is scored has to be shorter.
    pub max_model_len: usize,
    /// GiB for the KV cache on the processor; `None` leaves it to [`Options::more`], which vLLM does
    /// not look at where this is set.
    pub kv_gib: Option<u32>,
    /// The port on this machine; `None` takes a free one.
    pub port: Option<u16>,
    /// More options of `vllm serve`.
    pub more: Vec<String>,
    /// Where its log goes.
    pub log: PathBuf,
    /// How long it may take until it serves. On two cores it takes about two minutes.
    pub patience: Duration,
}

impl Options {
    /// Serves `model` with `program`: 1,024 tokens, 1 GiB for the KV cache, ten minutes' patience.
    pub fn new(program: &Path, model: &Path, log: &Path) -> Self {
        Self {
            program: program.into(),
            model: model.into(),
            dtype: "auto".into(),
            max_model_len: 1024,
            kv_gib: Some(1),
            port: None,
            more: Vec::new(),
            log: log.into(),
            patience: Duration::from_secs(600),
        }
    }

    /// The arguments of `vllm`. `--enforce-eager`: nothing is compiled, so it starts in minutes.
    fn arguments(&self, port: u16) -> Vec<String> {
        let model = self.model.display().to_string();
        let length = self.max_model_len.to_string();
        let port = port.to_string();
        let fixed = ["serve", &model, "--served-model-name", SERVED_AS, "--dtype", &self.dtype];
        let more = ["--max-model-len", &length, "--host", "127.0.0.1", "--port", &port];
        let all = fixed.iter().chain(&more).map(ToString::to_string);
        all.chain(["--enforce-eager".into()]).chain(self.more.clone()).collect()
    }
}

/// A server that answers.
#[derive(Debug)]
pub struct Server {
    client: Client,
    started: Option<Running>,
    load_time: Option<Duration>,
}

impl Server {
    /// Starts a server and waits until it is ready. Whatever goes wrong, nothing is left running.
    ///
    /// # Errors
    /// If vLLM is not there, ends before it serves, or is not ready in time; the last lines of its
    /// log are in the message.
    pub fn start(options: &Options) -> Result<Self, EngineError> {
        let port = options.port.map_or_else(free_port, Ok)?;
        let url = format!("http://127.0.0.1:{port}");
        let start = Instant::now();
        let prepare = |command: &mut std::process::Command| {
            command.args(options.arguments(port));
            command.envs(options.kv_gib.map(|gib| ("VLLM_CPU_KVCACHE_SPACE", gib.to_string())));
            // Both cores of a small machine; by default it keeps one for itself.
            command.env("VLLM_CPU_NUM_OF_RESERVED_CPU", "0");
            // Nothing is loaded from elsewhere, and nothing is told elsewhere.
            command.envs([("HF_HUB_OFFLINE", "1"), ("VLLM_NO_USAGE_STATS", "1")]);
        };
        let mut running = Running::start(&options.program, prepare, &options.log)?;
        wait(&url, options.patience, Some((&mut running, &process::name(&options.program))))?;
        let load_time = Some(start.elapsed());
        let client = Client::new(&url, SERVED_AS);
        Ok(Self { client, started: Some(running), load_time })
    }

    /// Takes a server that somebody else started, and will stop; waits until it is ready.
    ///
    /// # Errors
    /// If it is not ready in time, or does not say which model it serves.
    pub fn attach(url: &str, patience: Duration) -> Result<Self, EngineError> {
        wait(url, patience, None)?;
        Ok(Self { client: Client::attach(url)?, started: None, load_time: None })
    }

    /// Who asks it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// From the start of the program until it was ready; `None` if somebody else started it.
    pub fn load_time(&self) -> Option<Duration> {
        self.load_time
    }

    /// The lines of its log that say how it reads the checkpoint; see [`facts`].
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn facts(&self) -> Result<Vec<String>, EngineError> {
        Ok(self.started.as_ref().map(Running::log).transpose()?.map_or(Vec::new(), |l| facts(&l)))
    }

    /// The memory of its processes; `None` if somebody else started it, or the system does not tell.
    pub fn resident(&self) -> Option<Resident> {
        self.started.as_ref().and_then(Running::resident)
    }

    /// The first error in its log and the last lines; empty if somebody else started it.
    pub fn complaint(&self) -> String {
        self.started.as_ref().map_or(String::new(), complaint_of)
    }
}

/// Asks `/health` until it is well.
fn wait(
    url: &str,
    patience: Duration,
    mut program: Option<(&mut Running, &str)>,
) -> Result<(), EngineError> {
    let http = Http::new(url, GLANCE);
    let start = Instant::now();
    loop {
        // The process is checked before the port, because the server of another program may answer
        // at the port of a process that has ended.
        if let Some((running, name)) = &mut program
            && let Some(status) = running.ended()
        {
            let (program, status) = (name.to_string(), status.to_string());
            return Err(EngineError::Died { program, status, tail: complaint_of(running) });
        }
        if http.get("/health").is_ok() {
            return Ok(());
        }
        if start.elapsed() >= patience {
            let what = program.as_ref().map_or(url, |(_, name)| name).to_string();
            let tail = program.map_or(String::new(), |(running, _)| complaint_of(running));
            return Err(EngineError::NeverReady { what, seconds: patience.as_secs(), tail });
        }
        sleep(PAUSE);
    }
}

fn complaint_of(running: &Running) -> String {
    running.log().map_or_else(|error| error.to_string(), |log| complaint(&log))
}

/// A port that nobody listens at now.
fn free_port() -> Result<u16, EngineError> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound
        .map(|address| address.port())
        .map_err(|error| EngineError::Asked(format!("no port is free on this machine: {error}")))
}
