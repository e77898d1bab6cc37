//! The tables of the labs in the README and in the introduction, which are made from the labs, and the
//! tables of files in the chapters.

use anyhow::{Context, Result, ensure};
use xtask::labs;
use xtask::workspace;

#[test]
fn the_readme_and_the_introduction_list_every_lab_in_the_order_of_its_chapter() -> Result<()> {
    let (mut readme, mut introduction) = (String::new(), String::new());
    for (index, lab) in labs::all()?.iter().enumerate() {
        let rest = format!("{} | {} |\n", lab.builds, lab.needs);
        readme += &format!("| {} | `{}` | {rest}", index + 1, lab.package);
        let chapter =
            lab.chapter.as_ref().with_context(|| format!("{}: no chapter", lab.package))?;
        introduction += &format!("| [{}]({chapter}) | {rest}", lab.number());
    }
    let tables = [
        ("README.md", "| Order | Lab | You build | It needs |", readme),
        ("src/introduction.md", "| Lab | You build | It needs |", introduction),
    ];
    let mut old = Vec::new();
    for (file, header, rows) in tables {
        if !keep(file, header, &rows)? {
            old.push(file);
        }
    }
    ensure!(old.is_empty(), "the tables of the labs were old and are written anew: commit {old:?}");
    Ok(())
}

#[test]
fn each_file_in_the_table_of_files_of_a_lab_is_there() -> Result<()> {
    for lab in labs::all()? {
        let chapter = lab.chapter.with_context(|| format!("{}: no chapter", lab.package))?;
        let text = std::fs::read_to_string(workspace::root().join("src").join(&chapter))?;
        for row in text.lines() {
            let Some((path, _)) = row.strip_prefix("| `").and_then(|row| row.split_once('`'))
            else {
                continue;
            };
            let is_gone = path.contains('/') && !workspace::root().join(path).exists();
            ensure!(!is_gone, "src/{chapter} lists {path}, and there is no such file");
        }
    }
    Ok(())
}

/// Whether the table under `header` in `file` has these rows. If not, the file is written with them,
/// so that a new lab needs no edit by hand.
fn keep(file: &str, header: &str, rows: &str) -> Result<bool> {
    let path = workspace::root().join(file);
    let text = std::fs::read_to_string(&path)?;
    let kept = with_rows(&text, header, rows)
        .with_context(|| format!("{file} has no table with the header {header}"))?;
    if kept != text {
        std::fs::write(&path, &kept)?;
    }
    Ok(kept == text)
}

/// `text` with `rows` in the table under `header`.
fn with_rows(text: &str, header: &str, rows: &str) -> Option<String> {
    let rule = "\n| --- |";
    let (before, table) = text.split_once(&format!("{header}{rule}"))?;
    let (columns, table) = table.split_once('\n')?;
    let after = table.find("\n\n").map_or("", |end| &table[end + 1..]);
    Some(format!("{before}{header}{rule}{columns}\n{rows}{after}"))
}

#[test]
fn rows_are_replaced_and_the_text_around_them_stays() {
    let text = "a\n\n| x | y |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n\nb\n";
    let kept = |rows| with_rows(text, "| x | y |", rows);
    assert_eq!(kept("| 1 | 2 |\n| 3 | 4 |\n").as_deref(), Some(text));
    let shorter = text.replace("| 3 | 4 |\n", "");
    assert_eq!(kept("| 1 | 2 |\n"), Some(shorter));
    assert_eq!(with_rows(text, "| z |", ""), None);
}
