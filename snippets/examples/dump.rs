use book_preprocessor::{Kind, Library};
fn main() {
    let out = std::path::PathBuf::from(std::env::args().nth(1).unwrap());
    for kind in Kind::ALL {
        let dir = out.join(kind.word());
        std::fs::create_dir_all(&dir).unwrap();
        for name in snippets::Book.names(kind) {
            let t = std::time::Instant::now();
            let text = snippets::Book.render(kind, name).unwrap_or_else(|e| format!("{e:#}"));
            std::fs::write(dir.join(name), text).unwrap();
            eprintln!("{} {name} {:.2}", kind.word(), t.elapsed().as_secs_f64());
        }
    }
}
