//! The built book as a reader sees it: every page, in Chromium, at the width of a phone, of a
//! tablet and of a desk, light and dark.
//!
//! Without a browser this says `SKIPPED` and passes, unless `CI` is set: there it fails. The check
//! of the book is ignored unless it is built: `cargo book test` builds it and runs it.

use std::path::Path;

use anyhow::Result;
use book_tests::browser::{DESK, PHONE, TABLET, Tab, audit, file_url, start_or_skip as browser};
use book_tests::site::{NOT_FOUND_PAGE, Page, Site, book_dir};

/// The faces that every page sets text in.
const TEXT_FACES: [&str; 2] = ["Source Serif 4", "Source Sans 3"];

/// How wide a page is made, and the themes whose colours are measured there. Between a phone and a
/// desk no colour changes; what can is whether everything has its place.
const LOOKS: [(u32, &[&str]); 3] =
    [(DESK, &audit::THEMES), (TABLET, &[]), (PHONE, &["light", "navy"])];

#[test]
#[ignore = "needs the built book: cargo book test"]
fn every_page_holds_in_a_browser() {
    let Some(mut browser) = browser() else { return };
    let site = Site::load(&book_dir()).expect("the built book");
    // A wrong address has no folder, so its page asks for the root of a server.
    let pages: Vec<&Page> = site.chapters().filter(|page| page.path != NOT_FOUND_PAGE).collect();
    let mut findings = Vec::new();
    let mut tab = browser.tab().expect("a tab");
    for (width, themes) in LOOKS {
        tab.set_width(width).expect("a width");
        for page in &pages {
            let file = site.root().join(&page.path);
            let found =
                look(&mut tab, &file, themes).unwrap_or_else(|error| vec![error.to_string()]);
            findings.extend(found.iter().map(|f| format!("{} at {width} px: {f}", page.path)));
        }
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn the_search_finds_a_chapter() {
    let Some(mut browser) = browser() else { return };
    let mut tab = browser.tab().expect("a tab");
    tab.set_width(DESK).expect("a width");
    tab.open(&file_url(&book_dir().join("index.html")).expect("a page")).expect("it opens");
    let results = tab.evaluate(SEARCH).expect("a search");
    assert!(results.as_u64() > Some(0), "no results for «quantization»: {results}");
    let hard_to_read = audit::contrast(&mut tab).expect("an audit");
    assert!(hard_to_read.is_empty(), "in the results: {hard_to_read:#?}");
    assert_eq!(tab.complaints(), Vec::<String>::new());
}

/// Searches as a reader does and waits for what is found, at most five seconds.
const SEARCH: &str = "(async () => {
    document.getElementById('mdbook-search-toggle').click();
    const bar = document.getElementById('mdbook-searchbar');
    for (let tries = 0; tries < 50; tries++) {
        bar.value = 'quantization';
        bar.dispatchEvent(new Event('input', { bubbles: true }));
        bar.dispatchEvent(new KeyboardEvent('keyup', { bubbles: true }));
        await new Promise(done => setTimeout(done, 100));
        const results = document.querySelectorAll('#mdbook-searchresults li').length;
        if (results > 0) return results;
    }
    return 0;
})()";

/// Opens a page of the book and says what is wrong with it.
fn look(tab: &mut Tab<'_>, file: &Path, themes: &[&str]) -> Result<Vec<String>> {
    tab.open(&file_url(file)?)?;
    let mut findings = audit::layout(tab)?;
    for face in audit::fonts_not_loaded(tab, &TEXT_FACES)? {
        findings.push(format!("font: {face} is not loaded"));
    }
    for theme in themes {
        audit::choose_theme(tab, theme)?;
        findings.extend(audit::contrast(tab)?.iter().map(|finding| format!("{theme}: {finding}")));
    }
    findings.extend(tab.complaints());
    Ok(findings)
}

// The checks of the checks.

/// A page with nothing wrong.
const SOUND: &str = r##"<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>Lab</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body { overflow-x: hidden; background: #fff; color: #222 } a { color: #1b5e9e }</style></head>
<body><main><h1>Lab</h1>
<p>Words, a <a href="#x">link</a>, <code>$$ \frac</code>.</p>
<div style="overflow-x: auto"><table style="width: 900px"><tr><td>wide</td></tr></table></div>
<p style="color: #777; font-size: 24px">Large text.</p>
<figure class="plot"><svg viewBox="0 0 400 200" width="300"><path d="M0 0L9 9" stroke="black"/>
<text x="20" y="50" font-size="16" fill="#222">row</text></svg><figcaption>Rows.</figcaption></figure>
<pre><div class="buttons"><button class="clip-button">copy</button></div><code>let x = 1;</code></pre>
</main></body></html>"##;

/// What is replaced in the sound page, by what, and a word of the finding that must come of it.
const FLAWS: [(&str, &str, &str); 26] = [
    ("</main>", "</main><script>console.error('a fault')</script>", "console error: a fault"),
    ("</main>", "</main><script>console.warn('a doubt')</script>", "console warning: a doubt"),
    ("</main>", "</main><script>nothing()</script>", "exception: Uncaught"),
    ("</main>", "<img src='gone.png'></main>", "failed request (Image)"),
    ("</main>", "<img src='gone.png'></main>", "gone.png is not shown"),
    (
        "</main>",
        "<img src='https://example.org/a.png'></main>",
        "external request: https://example.org",
    ),
    (
        "</main>",
        "</main><script>fetch('http://example.org/').catch(() => 0)</script>",
        "external request",
    ),
    ("Words,", "<span style='color: #999'>Words</span>,", "contrast: 2.85 to 1 at <span>"),
    ("Words,", "<span style='opacity: 0.5'>Words</span>,", "contrast: 3.17 to 1 at <span>"),
    ("Words,", "<mark style='background: #555'>Words</mark>,", "contrast: 2.82 to 1 at <mark>"),
    (
        "</main>",
        "<details><summary>Hint</summary><i style='color: #999'>Half</i></details></main>",
        "contrast: 2.85 to 1 at <i>",
    ),
    ("font-size: 24px", "font-size: 16px", "contrast: 4.48 to 1 at <p>"),
    ("fill=\"#222\"", "fill=\"#aaa\"", "contrast: 2.32 to 1 at <text>"),
    ("overflow-x: auto", "", "overflow: <table> «wide» reaches"),
    (
        "<div style",
        "<div class='table-wrapper' style",
        "scrolls: <div.table-wrapper> «wide» needs 900",
    ),
    (
        "</main>",
        "<div class='katex-display' style='overflow: auto'><i style='padding: 400px'>s</i></div></main>",
        "scrolls: <div.katex-display> «s» needs",
    ),
    ("<p>Words", "<p style='margin-left: -30px'>Words", "overflow: <p> «Words"),
    ("width=\"300\"", "width=\"0\"", "figure: «Rows.» has no visible drawing"),
    ("<path d=\"M0 0L9 9\" stroke=\"black\"/>", "", "figure: «Rows.» is empty"),
    ("font-size=\"16\"", "font-size=\"8\"", "figure: «row» is 6.0 px high"),
    ("x=\"20\"", "x=\"390\"", "figure: «row» is cut off at the edge"),
    ("Words,", "Words $$ s $$,", "math: left as it was typed «Words $$ s $$"),
    ("Words,", "<b class='katex-error'>s</b>", "math: KaTeX refused «s»"),
    ("Words,", "<b class='katex'>s</b>", "none of KaTeX's fonts"),
    ("class=\"clip-button\"", "", "copy button: none at <code>"),
    ("a {", "a:focus { outline: none } a {", "focus: not visible on main p a"),
];

#[test]
fn every_check_of_a_page_bites() {
    let Some(mut browser) = browser() else { return };
    let mut tab = browser.tab().expect("a tab");
    tab.set_width(PHONE).expect("a width");
    assert_eq!(findings(&mut tab, SOUND), Vec::<String>::new(), "the sound page must pass");
    let mut missed = Vec::new();
    for (sound, flawed, words) in FLAWS {
        assert!(SOUND.contains(sound), "the sound page has no {sound}");
        let found = findings(&mut tab, &SOUND.replacen(sound, flawed, 1));
        if !found.iter().any(|finding| finding.contains(words)) {
            missed
                .push(format!("{flawed} must be found as «{words}», and was found as {found:#?}"));
        }
    }
    assert!(missed.is_empty(), "\n{}\n", missed.join("\n"));
}

#[test]
fn a_font_that_does_not_load_is_found() {
    let Some(mut browser) = browser() else { return };
    let mut tab = browser.tab().expect("a tab");
    let face = "@font-face { font-family: Ours; src: url(gone.woff2) } p { font-family: Ours }";
    let found = findings(&mut tab, &SOUND.replace("<style>", &format!("<style>{face}")));
    assert!(found.iter().any(|finding| finding == "font: Ours did not load"), "{found:#?}");
    let missing = audit::fonts_not_loaded(&mut tab, &["Ours", "Theirs"]).expect("an answer");
    assert_eq!(missing, ["Ours", "Theirs"]);
}

/// What is wrong with a page of this text.
fn findings(tab: &mut Tab<'_>, html: &str) -> Vec<String> {
    tab.open_text(html).expect("the page opens");
    let mut findings = audit::layout(tab).expect("an audit");
    findings.extend(audit::contrast(tab).expect("an audit"));
    findings.extend(tab.complaints());
    findings
}
