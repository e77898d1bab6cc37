//! The three meters, taken of a server that is not vLLM: what is asked, how much at once, and what
//! is made of it.

mod fake_server;

use std::collections::HashSet;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use fake_server::serve;
use measure::engines::meters::{Plan, Source, Vllm, take};
use measure::engines::vllm::Client;
use serde_json::{Value, json};

const METRICS: &str = include_str!("recorded/vllm-metrics.txt");

/// Tokens that a chunk has here.
const CHUNK: usize = 8;
/// Requests at once.
const REQUESTS: usize = 4;

fn plan() -> Plan {
    let batches = vec![REQUESTS];
    let (prompt, chunk) = (16, CHUNK);
    Plan { prompt, batches, chunk, chunks: Some(2), seconds: 0.01, repetitions: 1, ..Plan::new() }
}

fn engine(url: String) -> Vllm {
    Vllm {
        sources: vec![("none".into(), Source::Attach(url))],
        tokens: (1000..1000 + 2 * CHUNK as u32).collect(),
        bos: None,
        vocabulary: 49_152,
        plan: plan(),
        base: None,
    }
}

/// Every token of the prompt with probability 1/4, and likeliest.
fn scored(prompt: &Value) -> Value {
    let logprob = -(4f64.ln());
    let place = |token: &Value| json!({ token.to_string(): { "logprob": logprob, "rank": 1, "decoded_token": "x" } });
    let tokens = prompt.as_array().map(Vec::as_slice).unwrap_or_default();
    let places = tokens.iter().skip(1).map(place);
    std::iter::once(Value::Null).chain(places).collect()
}

/// Answers as vLLM does, and writes down the questions.
fn vllm(asked: Arc<Mutex<Vec<Value>>>, wait: Arc<Barrier>) -> String {
    serve(Box::new(move |path, body| match path {
        "/v1/models" => (200, json!({ "data": [{ "id": "somebody's" }] }).to_string()),
        "/metrics" => (200, METRICS.into()),
        "/v1/completions" => {
            let question: Value = serde_json::from_str(body).expect("a JSON question");
            let written = question["max_tokens"].clone();
            // As many at once as the load says, or this never returns.
            if written == 64 {
                wait.wait();
            }
            let choice = json!({
                "text": "x", "finish_reason": "length", "prompt_logprobs": scored(&question["prompt"]),
            });
            asked.lock().expect("no test failed").push(question);
            let usage = json!({ "prompt_tokens": 1, "completion_tokens": written });
            (200, json!({ "choices": [choice], "usage": usage }).to_string())
        }
        _ => (200, String::new()),
    }))
}

#[test]
fn a_load_is_sent_at_once_with_different_prompts_and_nothing_ends_early() {
    let (asked, wait) = (Arc::default(), Arc::new(Barrier::new(REQUESTS)));
    let url = vllm(Arc::clone(&asked), wait);
    let run = take(&mut engine(url), "none", &plan(), &mut |_| ());
    assert_eq!(run.error, None);
    let asked = asked.lock().expect("no test failed");
    let load: Vec<_> = asked.iter().filter(|question| question["max_tokens"] == 64).collect();
    // Once to warm up, once to be timed.
    assert_eq!(load.len(), 2 * REQUESTS);
    for question in &load {
        let exactly = question["ignore_eos"] == true && question["min_tokens"] == 64;
        assert!(exactly && question["temperature"] == 0, "{question}");
        assert_eq!(question["prompt"].as_array().map(Vec::len), Some(32));
    }
    let begins: HashSet<_> =
        load.iter().map(|question| question["prompt"][0].to_string()).collect();
    assert_eq!(begins.len(), REQUESTS, "prompts that begin alike could be read from a cache");
    let writing = run.writing_of(REQUESTS).expect("it was timed");
    assert!(writing.tokens_per_s.median > 0.0);
}

#[test]
fn blocks_are_those_of_the_metrics_and_perplexity_is_of_the_second_halves() {
    let url = vllm(Arc::default(), Arc::new(Barrier::new(REQUESTS)));
    let mut engine = engine(url);
    let run = take(&mut engine, "none", &plan(), &mut |_| ());
    let capacity = run.capacity.expect("it was read");
    assert_eq!((capacity.block_tokens, capacity.counted, capacity.weight_bytes), (128, true, None));
    let quality = run.sanity.expect("it was scored");
    // Every token has probability 1/4: 100 units in the last place for sum, mean and exp.
    assert!((quality.perplexity - 4.0).abs() < 400.0 * f64::EPSILON, "{quality:?}");
    assert_eq!((quality.chunks, quality.same_top), (2, None));
    assert_eq!(engine.base.expect("kept for those that follow").tokens(), 2 * (CHUNK / 2 - 1));
}

#[test]
fn an_engine_that_fails_is_in_the_run_in_its_own_words_with_what_was_read_before() {
    let page = |path: &str, body: &str| match path {
        "/v1/models" => (200, json!({ "data": [{ "id": "m" }] }).to_string()),
        "/v1/completions" if body.contains("prompt_logprobs") => {
            (500, json!({ "error": { "message": "no attribute cpu_gemm_wna16" } }).to_string())
        }
        "/v1/completions" => {
            let choices = json!([{ "text": " Paris", "finish_reason": "length" }]);
            let usage = json!({ "prompt_tokens": 5, "completion_tokens": 14 });
            (200, json!({ "choices": choices, "usage": usage }).to_string())
        }
        _ => (200, String::new()),
    };
    let run = take(&mut engine(serve(Box::new(page))), "none", &plan(), &mut |_| ());
    let error = run.error.expect("it failed");
    assert!(error.contains("cpu_gemm_wna16"), "{error}");
    assert!(run.reading.is_none() && run.sanity.is_none());
    let run = take(&mut engine("http://127.0.0.1:9".into()), "w8a8", &plan(), &mut |_| ());
    assert!(run.error.is_some_and(|error| error.contains("no checkpoint for `w8a8`")));
}

#[test]
fn a_server_that_writes_fewer_tokens_than_asked_is_refused() {
    let usage = json!({ "prompt_tokens": 2, "completion_tokens": 3 });
    let short = json!({ "choices": [{ "text": "x" }], "usage": usage }).to_string();
    let url = serve(Box::new(move |_, _| (200, short.clone())));
    let error = Client::new(&url, "m").write(&[1, 2], 64).expect_err("3 are not 64").to_string();
    assert!(error.contains("3 tokens written, not 64"), "{error}");
}

#[test]
fn a_vllm_that_is_started_gets_what_the_device_leaves()
-> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let options =
        || measure::engines::vllm::Options::new("vllm".as_ref(), "model".as_ref(), "log".as_ref());
    let plan = Plan { device_bytes: 1000, utilization: 0.5, ..Plan::new() };
    let Source::Start(started, bytes) = Vllm::options(options(), &plan, 100, false)? else {
        panic!("a server that is started");
    };
    assert_eq!((started.max_model_len, bytes, started.kv_gib), (640, 100, None));
    let words = started.more.join(" ");
    assert_eq!(words, "--no-enable-prefix-caching --kv-cache-memory-bytes=400");
    let Source::Start(own, _) = Vllm::options(options(), &plan, 100, true)? else {
        panic!("a server that is started");
    };
    assert!(own.more.contains(&"--gpu-memory-utilization=0.5".into()), "{:?}", own.more);
    assert!(own.patience >= Duration::from_secs(60));
    Ok(())
}
