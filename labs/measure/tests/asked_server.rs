//! A server that is not vLLM, asked what the plan has: what is asked, how much at once, and what is
//! made of it.

use std::collections::HashSet;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use crate::fake_server::serve;
use measure::engines::checkpoints::Checkpoint;
use measure::engines::vllm::{Client, KvMemory, Options, Vllm, Where};
use measure::engines::{Plan, Run, ask};
use model::Convention;
use serde_json::{Value, json};

const METRICS: &str = include_str!("recorded/vllm-metrics.txt");

/// Tokens that a chunk has here.
const CHUNK: usize = 8;
/// Requests at once.
const REQUESTS: usize = 4;

fn plan() -> Plan {
    let (prompts, batches) = (vec!["The capital of France is".into()], vec![REQUESTS]);
    let (prefill_tokens, chunk, chunks) = (16, CHUNK, Some(2));
    let (seconds, repetitions) = (0.01, 1);
    Plan {
        prompts,
        batches,
        prefill_tokens,
        chunk,
        chunks,
        seconds,
        repetitions,
        ..Plan::default()
    }
}

fn engine(server: Where, plan: Plan) -> Vllm {
    Vllm {
        server,
        tokens: (1000..1000 + 2 * CHUNK as u32).collect(),
        convention: Convention { chunk: CHUNK, bos: None },
        vocabulary: 49_152,
        plan,
        base: None,
    }
}

/// Asks a server at `url` about the original.
fn asked_at(engine: &mut Vllm) -> Run {
    let checkpoint = Checkpoint { name: "none".into(), path: None };
    let run = checkpoint.run().expect("it has no files");
    ask(engine, &checkpoint, true, &plan(), run, &mut |_| ())
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
            let generated = question["max_tokens"].clone();
            // As many at once as the load says, or this never returns.
            if generated == 64 {
                wait.wait();
            }
            let choice = json!({
                "text": "x", "finish_reason": "length", "prompt_logprobs": scored(&question["prompt"]),
            });
            asked.lock().expect("no test failed").push(question);
            let usage = json!({ "prompt_tokens": 1, "completion_tokens": generated });
            (200, json!({ "choices": [choice], "usage": usage }).to_string())
        }
        _ => (200, String::new()),
    }))
}

#[test]
fn a_load_is_sent_at_once_with_different_prompts_and_nothing_ends_early() {
    let (asked, wait) = (Arc::default(), Arc::new(Barrier::new(REQUESTS)));
    let url = vllm(Arc::clone(&asked), wait);
    let run = asked_at(&mut engine(Where::Attach(url), plan()));
    assert!(run.served && run.reason.is_none(), "{run:?}");
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
    let decode = run.decode_of(REQUESTS).expect("it was timed");
    assert!(decode.tokens_per_s.median > 0.0);
}

#[test]
fn blocks_are_those_of_the_metrics_and_perplexity_is_of_the_second_halves() {
    let url = vllm(Arc::default(), Arc::new(Barrier::new(REQUESTS)));
    let mut engine = engine(Where::Attach(url), plan());
    let run = asked_at(&mut engine);
    let kv = run.kv_cache.expect("it was read");
    assert_eq!((kv.block_tokens, kv.blocks, kv.counted), (128, 182, true));
    assert_eq!((run.weight_bytes, run.load_s), (None, None), "the server tells neither");
    let quality = run.quality.expect("it was scored");
    // Every token has probability 1/4: 100 units in the last place for sum, mean and exp.
    assert!((quality.perplexity - 4.0).abs() < 400.0 * f64::EPSILON, "{quality:?}");
    assert_eq!((quality.chunks, quality.top1_agreement), (2, None));
    let base = engine.base.expect("kept for those that follow");
    assert_eq!(base.top.len(), 2 * (CHUNK / 2 - 1));
    assert_eq!(base.top1_agreement(&base), Some(1.0));
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
    let run = asked_at(&mut engine(Where::Attach(serve(Box::new(page))), plan()));
    let reason = run.reason.expect("it failed");
    assert!(!run.served && reason.contains("cpu_gemm_wna16"), "{reason}");
    assert_eq!(run.answers, [" Paris"], "read before");
    assert!(run.prefill.is_none() && run.quality.is_none());
    let server = Where::Start(
        Box::new(Options::new("no/vllm".as_ref(), "".as_ref(), "log".as_ref())),
        KvMemory::Rest,
    );
    let reason = asked_at(&mut engine(server, plan())).reason.expect("there is no file");
    assert!(reason.contains("`none` is not in a file"), "{reason}");
}

#[test]
fn a_server_that_generates_fewer_tokens_than_asked_is_refused() {
    let usage = json!({ "prompt_tokens": 2, "completion_tokens": 3 });
    let short = json!({ "choices": [{ "text": "x" }], "usage": usage }).to_string();
    let url = serve(Box::new(move |_, _| (200, short.clone())));
    let error = Client::new(&url, "m").generate(&[1, 2], 64).expect_err("3 are not 64").to_string();
    assert!(error.contains("3 tokens generated, not 64"), "{error}");
}

#[test]
fn a_vllm_that_is_started_gets_what_the_device_leaves() -> anyhow::Result<()> {
    let template = Options::new("vllm".as_ref(), "".as_ref(), "log".as_ref());
    let plan = Plan { device_bytes: 1000, utilization: 0.5, ..Plan::default() };
    let engine = engine(Where::Attach(String::new()), plan);
    let started = |memory| engine.options(&template, memory, "model".as_ref(), 100);
    let rest = started(KvMemory::Rest)?;
    assert_eq!((rest.max_model_len, rest.model.to_str(), rest.kv_gib), (640, Some("model"), None));
    let words = rest.more.join(" ");
    assert_eq!(words, "--no-enable-prefix-caching --kv-cache-memory-bytes=400");
    let own = started(KvMemory::OfDevice)?;
    assert!(own.more.contains(&"--gpu-memory-utilization=0.5".into()), "{:?}", own.more);
    let fixed = started(KvMemory::Gib(3))?;
    assert_eq!((fixed.kv_gib, fixed.more.len()), (Some(3), 1), "{:?}", fixed.more);
    assert!(own.patience >= Duration::from_secs(60));
    Ok(())
}
