//! One tab: open a page, ask it something, hear what went wrong.

use std::path::Path;

use anyhow::{Context, Result, bail};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use super::connection::{Connection, Event};

/// What a path may hold that an address may not.
const RESERVED: &AsciiSet = &CONTROLS.add(b' ').add(b'#').add(b'?').add(b'%').add(b'"');

/// A tab of a running browser.
pub struct Tab<'a> {
    connection: &'a mut Connection,
    session: String,
}

/// The `file://` address of a file.
///
/// # Errors
/// If there is no such file.
pub fn file_url(file: &Path) -> Result<String> {
    let file = file.canonicalize().with_context(|| format!("no file {}", file.display()))?;
    let path = file.to_string_lossy().replace('\\', "/");
    // Windows puts `//?/` before a canonical path.
    let path = path.trim_start_matches("//?").trim_start_matches('/');
    Ok(format!("file:///{}", utf8_percent_encode(path, RESERVED)))
}

impl<'a> Tab<'a> {
    pub(super) fn new(connection: &'a mut Connection, session: String) -> Result<Self> {
        let mut tab = Self { connection, session };
        for domain in ["Page", "Network", "Runtime", "Log"] {
            tab.call(&format!("{domain}.enable"), Value::Null)?;
        }
        // Colours are read at once, not in the middle of a transition; and a light theme is what
        // the page starts with, whatever the machine prefers.
        let features = json!([
            {"name": "prefers-reduced-motion", "value": "reduce"},
            {"name": "prefers-color-scheme", "value": "light"},
        ]);
        tab.call("Emulation.setEmulatedMedia", json!({"features": features}))?;
        Ok(tab)
    }

    /// Makes the page this wide, in CSS pixels. Below 600 it is a phone that is touched.
    ///
    /// # Errors
    /// If the browser does not answer.
    pub fn set_width(&mut self, width: u32) -> Result<()> {
        let phone = width < 600;
        let screen = json!({
            "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": phone,
        });
        self.call("Emulation.setDeviceMetricsOverride", screen)?;
        self.call("Emulation.setTouchEmulationEnabled", json!({"enabled": phone}))?;
        Ok(())
    }

    /// Opens a page and waits until it and its fonts are there.
    ///
    /// # Errors
    /// If the page cannot be opened.
    pub fn open(&mut self, url: &str) -> Result<()> {
        self.connection.take_events(&self.session);
        let answer = self.call("Page.navigate", json!({"url": url}))?;
        if let Some(error) = answer["errorText"].as_str() {
            bail!("cannot open {url}: {error}");
        }
        self.connection.wait_for(&self.session, "Page.loadEventFired")?;
        self.evaluate(
            "(async () => {
                await document.fonts.ready;
                await new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
            })()",
        )?;
        Ok(())
    }

    /// Opens a page that is this text. Its address has a space in it, as an address may.
    ///
    /// # Errors
    /// As [`Tab::open`].
    pub fn open_text(&mut self, html: &str) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("a page.html");
        std::fs::write(&file, html)?;
        self.open(&file_url(&file)?)
    }

    /// Opens a page that holds nothing but these scripts.
    ///
    /// # Errors
    /// As [`Tab::open`].
    pub fn open_scripts(&mut self, scripts: &str) -> Result<()> {
        let icon = "<link rel=\"icon\" href=\"data:,\">";
        let head = format!("<!DOCTYPE html><meta charset=\"utf-8\"><title>t</title>{icon}");
        self.open_text(&format!("{head}<script>{scripts}</script>"))
    }

    /// Opens a page whose own scripts do not run, and waits until it is there. What is asked of it
    /// afterwards does run.
    ///
    /// # Errors
    /// If the page cannot be opened.
    pub fn open_without_scripts(&mut self, url: &str) -> Result<()> {
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": true}))?;
        self.connection.take_events(&self.session);
        self.call("Page.navigate", json!({"url": url}))?;
        self.connection.wait_for(&self.session, "Page.loadEventFired")?;
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": false}))?;
        Ok(())
    }

    /// Lays the page out as for the printer, or for the screen again.
    ///
    /// # Errors
    /// If the browser does not answer.
    pub fn set_print(&mut self, print: bool) -> Result<()> {
        let media = if print { "print" } else { "screen" };
        self.call("Emulation.setEmulatedMedia", json!({"media": media}))?;
        Ok(())
    }

    /// Presses and lets go of a key as a hand does: `ArrowRight`, `Enter`, `Tab`.
    ///
    /// # Errors
    /// If the browser does not answer.
    pub fn press(&mut self, key: &str) -> Result<()> {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            " " => 32,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            other => bail!("no code is known for the key {other}"),
        };
        // Enter presses a button by the character that it types.
        let text = if key == "Enter" { "\r" } else { "" };
        for (what, text) in [("keyDown", text), ("keyUp", "")] {
            let event = json!({
                "type": what, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text,
            });
            self.call("Input.dispatchKeyEvent", event)?;
        }
        Ok(())
    }

    /// Takes the mouse down at one place of the window and lets it go at another.
    ///
    /// # Errors
    /// If the browser does not answer.
    pub fn drag(&mut self, from: (f64, f64), to: (f64, f64)) -> Result<()> {
        let steps = [("mousePressed", from), ("mouseMoved", to), ("mouseReleased", to)];
        for (what, (x, y)) in steps {
            let event = json!({
                "type": what, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1,
            });
            self.call("Input.dispatchMouseEvent", event)?;
        }
        Ok(())
    }

    /// Runs a script in the page and returns its value, awaited if it is a promise.
    ///
    /// # Errors
    /// If the script throws.
    pub fn evaluate(&mut self, script: &str) -> Result<Value> {
        let params = json!({"expression": script, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.call("Runtime.evaluate", params)?;
        if answer["exceptionDetails"].is_object() {
            bail!("the script failed: {}", answer["exceptionDetails"]["exception"]["description"]);
        }
        Ok(answer["result"]["value"].take())
    }

    /// What went wrong since the page was opened: complaints in the console, requests that failed,
    /// requests for anything but files.
    pub fn complaints(&mut self) -> Vec<String> {
        let events = self.connection.take_events(&self.session);
        events.iter().filter_map(complaint).collect()
    }

    fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.connection.call(Some(&self.session), method, params)
    }
}

/// The complaint in an event, if there is one.
fn complaint(Event { method, params, .. }: &Event) -> Option<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match method.as_str() {
        "Network.requestWillBeSent" => {
            let url = text(&params["request"]["url"]);
            let ours = ["file:", "data:", "blob:", "about:"];
            (!ours.iter().any(|scheme| url.starts_with(scheme)))
                .then(|| format!("external request: {url}"))
        }
        "Network.loadingFailed" if params["canceled"] != true => Some(format!(
            "failed request ({}): {}",
            text(&params["type"]),
            text(&params["errorText"])
        )),
        "Runtime.exceptionThrown" => {
            let details = &params["exceptionDetails"];
            let thrown = text(&details["exception"]["description"]);
            Some(format!("exception: {} {thrown}", text(&details["text"])))
        }
        "Runtime.consoleAPICalled" if is_serious(&params["type"]) => {
            let arguments = params["args"].as_array().into_iter().flatten();
            let words: Vec<String> = arguments
                .map(|argument| match &argument["value"] {
                    Value::Null => text(&argument["description"]),
                    Value::String(value) => value.clone(),
                    value => value.to_string(),
                })
                .collect();
            Some(format!("console {}: {}", text(&params["type"]), words.join(" ")))
        }
        "Log.entryAdded" if is_serious(&params["entry"]["level"]) => {
            let entry = &params["entry"];
            Some(format!("browser log: {} {}", text(&entry["text"]), text(&entry["url"])))
        }
        _ => None,
    }
}

/// Both ways in which the protocol names a warning or an error.
fn is_serious(level: &Value) -> bool {
    ["error", "warning", "assert"].iter().any(|serious| level == serious)
}
