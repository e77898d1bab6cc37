//! The client and the server's life, against a server that is not vLLM: recorded answers over a real
//! connection, and programs that die, sleep or fork. No engine is needed.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use crate::fake_server::serve;
use measure::engines::EngineError;
use measure::engines::vllm::served_score::perplexity;
use measure::engines::vllm::{Client, Metrics, Server};
use model::Convention;

const COMPLETION: &str = include_str!("recorded/vllm-completion.json");
const LOGPROBS: &str = include_str!("recorded/vllm-prompt-logprobs.json");
const REFUSAL: &str = include_str!("recorded/vllm-400.json");
const METRICS: &str = include_str!("recorded/vllm-metrics.txt");

/// The prompt of the recorded log-probabilities: "The capital of France is".
const PROMPT: [u32; 5] = [504, 3575, 282, 4649, 314];

/// A client of a server that answers the same to everything.
fn always(status: u16, text: &str) -> Client {
    let text = text.to_string();
    Client::new(&serve(Box::new(move |_, _| (status, text.clone()))), "checkpoint")
}

#[test]
fn a_recorded_completion_is_read_as_it_was_written() -> Result<(), EngineError> {
    let answer = always(200, COMPLETION).complete("The capital of France is", 14)?;
    assert_eq!(answer.text, " Paris.\n\nThe answer is: 2018-");
    assert_eq!(answer.finish_reason, "length");
    assert_eq!((answer.prompt_tokens, answer.completion_tokens), (5, 14));
    Ok(())
}

#[test]
fn a_question_is_greedy_and_names_the_model() -> Result<(), EngineError> {
    let page = |path: &str, body: &str| {
        let question: serde_json::Value = serde_json::from_str(body).expect("a JSON question");
        let greedy = question["temperature"] == 0 && question["max_tokens"] == 3;
        let right = path == "/v1/completions" && question["model"] == "checkpoint" && greedy;
        let prompt = question["prompt"] == "The capital";
        if right && prompt { (200, COMPLETION.into()) } else { (400, body.into()) }
    };
    Client::new(&serve(Box::new(page)), "checkpoint").complete("The capital", 3)?;
    Ok(())
}

#[test]
fn scores_are_those_of_the_prompt_and_tell_the_likeliest_token() -> Result<(), EngineError> {
    let scores = always(200, LOGPROBS).score(&PROMPT)?;
    let tokens: Vec<u32> = scores.iter().map(|score| score.token).collect();
    assert_eq!(tokens, PROMPT[1..], "one score for each token but the first");
    let top: Vec<u32> = scores.iter().map(|score| score.top).collect();
    assert_eq!(top, [29, 282, 260, 314], "vLLM ranked these first");
    assert_eq!(scores[1].logprob, -0.337594211101532);
    Ok(())
}

#[test]
fn the_second_half_of_every_chunk_is_scored() -> Result<(), EngineError> {
    let client = always(200, LOGPROBS);
    // Twice the recorded prompt: chunks of 5, of which tokens 3 and 4 are scored (5 / 2 + 1 ..).
    let text = [PROMPT, PROMPT].concat();
    let convention = Convention { chunk: 5, bos: None };
    let mut heard = Vec::new();
    let mut progress = |score: &model::Score, all| heard.push((score.chunks, all));
    let scored = perplexity(&client, &text, convention, &mut progress)?;
    assert_eq!((scored.score.chunks, scored.score.tokens), (2, 4));
    assert_eq!(heard, [(1, 2), (2, 2)]);
    assert_eq!(scored.score.nll, 2.0 * (2.4386465549468994 + 0.45091429352760315));
    assert_eq!(scored.top, [260, 314, 260, 314]);
    let one = perplexity(&client, &text[..5], convention, &mut |_, _| ())?;
    assert_eq!(scored.top1_agreement(&one), None, "other places cannot agree");
    let short = perplexity(&client, &text[..4], convention, &mut |_, _| ());
    let short = short.expect_err("no whole chunk").to_string();
    assert!(short.contains("4 tokens are no whole chunk of 5"), "{short}");
    Ok(())
}

#[test]
fn scores_of_other_tokens_are_refused() {
    for (tokens, words) in [
        (&PROMPT[..4], "5 prompt_logprobs for 4 tokens"),
        (&[504, 1, 282, 4649, 314][..], "no finite log-probability of token 1 at 1"),
        (&[504][..], "2 tokens or more"),
    ] {
        let error = always(200, LOGPROBS).score(tokens).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    }
    let none = LOGPROBS.replace("-11.539271354675293", "null");
    let error = always(200, &none).score(&PROMPT).expect_err("null").to_string();
    assert!(error.contains("/v1/completions is not as expected"), "{error}");
}

#[test]
fn a_refusal_is_shown_in_the_servers_words() {
    let error = always(400, REFUSAL).score(&PROMPT).expect_err("it refuses");
    assert!(matches!(error, EngineError::Refused { status: 400, .. }), "{error:?}");
    assert!(error.to_string().contains("prompt logprobs of 50"), "{error}");
    let error = always(500, "plain text").complete("x", 1).expect_err("it fails").to_string();
    assert!(error.contains("status 500: plain text"), "{error}");
}

#[test]
fn an_answer_that_is_cut_off_or_something_else_is_an_error() {
    let half = &COMPLETION[..COMPLETION.len() / 2];
    for text in [half, "", "[]", "{\"choices\": [], \"usage\": {\"prompt_tokens\": 1}}"] {
        let error = always(200, text).complete("x", 1).expect_err("no answer");
        assert!(matches!(error, EngineError::Unreadable { .. }), "{text:?}: {error:?}");
    }
}

#[test]
fn a_connection_that_breaks_off_or_is_refused_is_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"choi");
    });
    let client = Client::new(&url, "checkpoint");
    for when in ["it breaks off", "nobody listens any more"] {
        let error = client.complete("x", 1).expect_err(when);
        assert!(matches!(error, EngineError::NoAnswer { .. }), "{when}: {error:?}");
    }
}

#[test]
fn the_metrics_tell_the_cache_and_the_counters() -> Result<(), EngineError> {
    let cache = always(200, METRICS).kv_cache()?;
    assert_eq!((cache.block_tokens, cache.blocks, cache.counted), (128, 182, true));
    assert_eq!(cache.memory_bytes, Some(1 << 30));
    assert_eq!(cache.cache_dtype.as_deref(), Some("auto"));
    // A block of float32: 128 tokens x K and V x 30 layers x 3 heads x 64 x 4 bytes.
    assert_eq!(cache.blocks, (1 << 30) / (128 * 2 * 30 * 3 * 64 * 4));
    let metrics = Metrics::parse(METRICS)?;
    assert_eq!(metrics.sum("vllm:prompt_tokens_total"), Some(51.0));
    assert_eq!(metrics.sum("vllm:generation_tokens_total"), Some(34.0));
    assert_eq!(metrics.sum("vllm:no_such_meter"), None);
    Ok(())
}

#[test]
fn labels_with_quotes_and_commas_are_read_and_nonsense_is_shown() -> Result<(), EngineError> {
    let text = "# HELP a b\na{x=\"1,\\\"2\\\"}\",y=\"\"} 2.5 1700000000\nb 1e9\nc NaN\n";
    let metrics = Metrics::parse(text)?;
    let sample = metrics.named("a").next().expect("it is there");
    assert_eq!((sample.labels["x"].as_str(), sample.labels["y"].as_str()), ("1,\"2\"}", ""));
    assert_eq!((sample.value, metrics.sum("b")), (2.5, Some(1e9)));
    for line in ["a{x=\"1\" 2", "a", "a b", "{", "a{x=\"\\"] {
        let error = Metrics::parse(line).expect_err(line).to_string();
        assert!(error.contains("a line of /metrics") && error.contains(line), "{error}");
    }
    let without = always(200, "a 1\n").kv_cache().expect_err("no cache").to_string();
    assert!(without.contains("no vllm:cache_config_info"), "{without}");
    let unset = METRICS.replace("num_gpu_blocks=\"182\"", "num_gpu_blocks=\"None\"");
    let unset = always(200, &unset).kv_cache().expect_err("not set").to_string();
    assert!(unset.contains("no number `num_gpu_blocks`"), "{unset}");
    Ok(())
}

#[test]
fn a_server_of_somebody_else_is_asked_by_its_first_model() -> Result<(), EngineError> {
    let page = |path: &str, body: &str| match path {
        "/health" => (200, String::new()),
        "/version" => (200, "{\"version\":\"0.32.0\"}".into()),
        "/v1/models" => (200, "{\"data\":[{\"id\":\"theirs\"}]}".into()),
        _ if body.contains("\"theirs\"") => (200, COMPLETION.into()),
        _ => (404, body.into()),
    };
    let server = Server::attach(&serve(Box::new(page)), Duration::from_secs(5))?;
    assert_eq!(server.client().version()?, "0.32.0");
    server.client().complete("x", 1)?;
    assert_eq!(server.load_time(), None);
    Ok(())
}

#[test]
fn a_server_that_is_never_well_is_given_up() {
    let url = serve(Box::new(|_, _| (503, String::new())));
    let error = Server::attach(&url, Duration::from_millis(300)).expect_err("never well");
    assert!(matches!(error, EngineError::NeverReady { .. }), "{error:?}");
}

/// Programs in the place of `vllm`: what they start must end with them.
#[cfg(unix)]
mod life {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::time::Instant;

    use measure::engines::checkpoints::Checkpoint;
    use measure::engines::vllm::{KvMemory, Options, Vllm, Where};
    use measure::engines::{Meter, Plan, Run, ask};
    use tempfile::TempDir;

    use super::*;

    /// A worker of its own that ignores a polite end, as an engine's may; its number in a file.
    const FORKS: &str = "(trap '' TERM; echo started; exec sleep 300) &\necho $! > \"$0.worker\"\n";

    fn program(body: &str) -> (TempDir, Options) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("vllm");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        let mut options = Options::new(&path, folder.path(), &folder.path().join("log"));
        options.patience = Duration::from_secs(20);
        (folder, options)
    }

    fn worker(options: &Options) -> String {
        let path = PathBuf::from(format!("{}.worker", options.program.display()));
        let start = Instant::now();
        loop {
            match fs::read_to_string(&path) {
                Ok(text) if text.ends_with('\n') => return text.trim().into(),
                _ if start.elapsed() > Duration::from_secs(10) => panic!("no worker was started"),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Whether a process is at work; one that has ended and waits to be collected is not.
    fn lives(pid: &str) -> bool {
        let state = Command::new("ps").args(["-o", "stat=", "-p", pid]).output().expect("ps");
        let state = String::from_utf8_lossy(&state.stdout).trim().to_string();
        !state.is_empty() && !state.starts_with('Z')
    }

    fn ends(pid: &str, within: Duration) -> bool {
        let start = Instant::now();
        while lives(pid) && start.elapsed() < within {
            std::thread::sleep(Duration::from_millis(50));
        }
        !lives(pid)
    }

    #[test]
    fn an_engine_that_dies_while_it_starts_is_shown_with_its_first_error() {
        let (_folder, options) = program(
            "echo 'ValueError: no such scheme'\nfor i in $(seq 40); do echo \"line $i\"; done; exit 3",
        );
        let error = Server::start(&options).expect_err("it dies").to_string();
        for words in ["vllm ended", "exit status: 3", "ValueError: no such scheme", "line 40"] {
            assert!(error.contains(words), "no `{words}` in {error}");
        }
        assert!(!error.contains("line 20\n"), "the last lines only: {error}");
    }

    #[test]
    fn an_engine_that_is_never_well_is_stopped_with_its_workers() {
        let (_folder, mut options) = program(&format!("{FORKS}echo loading; exec sleep 300"));
        options.patience = Duration::from_secs(1);
        let error = Server::start(&options).expect_err("never well").to_string();
        assert!(
            error.contains("vllm was not ready after 1 s") && error.contains("loading"),
            "{error}"
        );
        let worker = worker(&options);
        assert!(ends(&worker, Duration::from_secs(5)), "the worker {worker} was left behind");
    }

    #[test]
    fn a_server_that_is_dropped_takes_its_workers_along() {
        let (_folder, mut options) = program(&format!("{FORKS}exec sleep 300"));
        let url = serve(Box::new(|_, _| (200, COMPLETION.into())));
        options.port = url.rsplit(':').next().and_then(|port| port.parse().ok());
        let server = Server::start(&options).expect("the fake server is well");
        assert!(server.load_time().is_some_and(|time| time < options.patience));
        let worker = worker(&options);
        assert!(lives(&worker), "it works while the server is held");
        drop(server);
        assert!(ends(&worker, Duration::from_secs(5)), "the worker {worker} was left behind");
    }

    /// What a program does that serves: it says so, and stays.
    const SERVES: &str = ": > \"$0.serves\"\nexec sleep 300";

    /// What vLLM answers to all that a check asks; the completions fail where `broken`. It is well
    /// when the program serves and not before: one that is about to die must not be taken for well.
    fn pages(options: &Options, broken: bool) -> Option<u16> {
        let serves = PathBuf::from(format!("{}.serves", options.program.display()));
        let url = serve(Box::new(move |path, body| match path {
            "/health" if !serves.exists() => (503, "not yet".into()),
            "/metrics" => (200, METRICS.into()),
            "/v1/completions" if broken => (500, "EngineCore encountered an issue".into()),
            "/v1/completions" if body.contains("prompt_logprobs") => (200, LOGPROBS.into()),
            _ => (200, COMPLETION.into()),
        }));
        url.rsplit(':').next().and_then(|port| port.parse().ok())
    }

    fn asked(options: &Options) -> Run {
        let plan = Plan {
            meters: vec![Meter::Quality],
            prompts: vec!["The capital of France is".into()],
            chunk: PROMPT.len(),
            chunks: None,
            ..Plan::default()
        };
        let mut vllm = Vllm {
            server: Where::Start(Box::new(options.clone()), KvMemory::Gib(1)),
            tokens: PROMPT.to_vec(),
            convention: Convention { chunk: PROMPT.len(), bos: None },
            vocabulary: 49_152,
            plan: plan.clone(),
            base: None,
        };
        let checkpoint = Checkpoint { name: "w8a8".into(), path: Some(options.model.clone()) };
        ask(&mut vllm, &checkpoint, true, &plan, Run::default(), &mut |_| ())
    }

    #[test]
    fn where_a_method_has_no_kernel_for_float32_bfloat16_is_taken_and_both_are_recorded() {
        // The words of vLLM 0.32's `config/vllm.py`.
        let (_folder, mut options) = program(&format!(
            "case \"$*\" in *float32*) echo 'ValidationError: 1 validation error for VllmConfig'\n\
             echo '  Value error, torch.float32 is not supported for quantization method awq.'\n\
             exit 1;; esac\n{SERVES}"
        ));
        options.dtype = "float32".into();
        options.port = pages(&options, false);
        let run = asked(&options);
        assert!(run.served && run.load_s.is_some(), "{run:?}");
        assert_eq!(run.dtype.as_deref(), Some("bfloat16"));
        assert!(run.log[0].contains("torch.float32 is not supported"), "{run:?}");
        assert_eq!(run.answers, [" Paris.\n\nThe answer is: 2018-"]);
        let quality = run.quality.expect("it was scored");
        let mean = (2.4386465549468994 + 0.45091429352760315) / 2.0;
        assert_eq!((quality.perplexity, quality.chunks), (f64::exp(mean), 1));
    }

    #[test]
    fn an_engine_that_fails_at_a_question_is_recorded_with_what_was_read_before() {
        let (_folder, mut options) = program(&format!(
            "echo '(Worker pid=1) ERROR 11-24 19:34:51 [x.py:1] AttributeError: no kernel'\n{SERVES}"
        ));
        options.port = pages(&options, true);
        let run = asked(&options);
        assert_eq!(
            run.reason.as_deref(),
            Some("AttributeError: no kernel"),
            "the cause is in the log"
        );
        let log = run.log.join("\n");
        assert!(log.contains("status 500: EngineCore encountered"), "{log}");
        assert!(run.load_s.is_some() && !run.served, "it was served and failed at the question");
        assert_eq!((run.answers.len(), run.quality), (0, None));
    }

    #[test]
    fn an_engine_that_does_not_start_is_recorded_too() {
        let (_folder, options) = program("echo 'ValueError: unknown method'; exit 1");
        let run = asked(&options);
        assert_eq!(run.reason.as_deref(), Some("ValueError: unknown method"));
        assert_eq!((run.served, run.dtype.as_deref()), (false, Some("auto")));
    }

    #[test]
    fn the_program_is_told_what_was_asked_for() {
        let (folder, mut options) =
            program("echo \"$@\" $VLLM_CPU_KVCACHE_SPACE $HF_HUB_OFFLINE; exit 1");
        options.dtype = "float32".into();
        options.kv_gib = Some(3);
        options.more = vec!["--kv-cache-dtype".into(), "fp8".into()];
        let error = Server::start(&options).expect_err("it ends").to_string();
        let model = folder.path().display();
        for words in [
            format!("serve {model} --served-model-name"),
            "--dtype float32 --max-model-len 1024".into(),
            "--kv-cache-dtype fp8 3 1".into(),
        ] {
            assert!(error.contains(&words), "no `{words}` in {error}");
        }
    }

    #[test]
    fn a_vllm_that_is_not_there_is_named_with_the_fix() {
        let nowhere = Path::new("no/such/vllm");
        let options = Options::new(nowhere, nowhere, &std::env::temp_dir().join("no.log"));
        let error = Server::start(&options).expect_err("it is not there").to_string();
        assert!(error.contains("no/such/vllm") && error.contains("README"), "{error}");
    }
}
