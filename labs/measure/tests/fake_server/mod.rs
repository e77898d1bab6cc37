//! A server in the place of an engine, whose answers the test decides.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// What is answered to a path and a body: a status and a text.
pub type Page = Box<dyn Fn(&str, &str) -> (u16, String) + Send + Sync>;

/// Serves what `page` says of a path and a body; returns its address. It ends with the test.
pub fn serve(page: Page) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let page = Arc::new(page);
        for stream in listener.incoming().flatten() {
            // Each by itself: a question may wait for others.
            let page = Arc::clone(&page);
            std::thread::spawn(move || answer(stream, &page));
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream, page: &Page) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let path = first.split(' ').nth(1).unwrap_or_default();
    let (status, text) = page(path, &String::from_utf8_lossy(&body));
    let length = text.len();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    )
}
