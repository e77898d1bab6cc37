//! Messages to and from the browser: JSON over one WebSocket.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// The longest that a single answer or event may take. axe needs seconds for a long page, and tens of
/// seconds on a machine that is busy with other things.
const LIMIT: Duration = Duration::from_secs(120);

/// An open connection.
pub(super) struct Connection {
    socket: WebSocket<TcpStream>,
    last_id: u64,
    events: VecDeque<Event>,
}

/// Something that the browser told unasked.
pub(super) struct Event {
    pub(super) session: String,
    pub(super) method: String,
    pub(super) params: Value,
}

impl Connection {
    pub(super) fn open(port: u16, path: &str) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        let (socket, _) = tungstenite::client(format!("ws://127.0.0.1:{port}{path}"), stream)
            .context("the browser refused the connection")?;
        Ok(Self { socket, last_id: 0, events: VecDeque::new() })
    }

    /// Sends a command to a session, or to the browser itself, and waits for its result.
    pub(super) fn call(
        &mut self,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value> {
        self.last_id += 1;
        let mut command = json!({"id": self.last_id, "method": method});
        if !params.is_null() {
            command["params"] = params;
        }
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        self.socket.send(Message::text(command.to_string()))?;
        loop {
            let mut message = self.receive().with_context(|| format!("no answer to {method}"))?;
            if message["id"] != self.last_id {
                self.keep(message);
            } else if message["error"].is_object() {
                bail!("{method}: {}", message["error"]["message"]);
            } else {
                return Ok(message["result"].take());
            }
        }
    }

    /// Waits until the session tells this.
    pub(super) fn wait_for(&mut self, session: &str, method: &str) -> Result<()> {
        let limit = Instant::now() + LIMIT;
        let mut seen = 0;
        while Instant::now() < limit {
            let mut unseen = self.events.iter().skip(seen);
            if unseen.any(|event| event.session == session && event.method == method) {
                return Ok(());
            }
            seen = self.events.len();
            let message = self.receive().with_context(|| format!("waiting for {method}"))?;
            self.keep(message);
        }
        bail!("{method} did not come within {} s", LIMIT.as_secs())
    }

    /// What the session told since the last time, in order.
    pub(super) fn take_events(&mut self, session: &str) -> Vec<Event> {
        let (taken, kept) =
            self.events.drain(..).partition(|event: &Event| event.session == session);
        self.events = kept;
        Vec::from_iter::<VecDeque<Event>>(taken)
    }

    fn receive(&mut self) -> Result<Value> {
        loop {
            if let Message::Text(text) = self.socket.read()? {
                return Ok(serde_json::from_str(text.as_str())?);
            }
        }
    }

    fn keep(&mut self, mut message: Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if message["method"].is_string() {
            self.events.push_back(Event {
                session: text(&message["sessionId"]),
                method: text(&message["method"]),
                params: message["params"].take(),
            });
        }
    }
}
