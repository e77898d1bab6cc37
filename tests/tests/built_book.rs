//! The built book as files: nothing missing, nothing foreign, nothing unfinished.
//!
//! The checks of the book are ignored unless it is built: `cargo book test` builds it and runs
//! them. The checks themselves are held to small broken books, which needs nothing.

use std::fs;

use book_tests::site::{Site, assets, book_dir, content, links};

/// A check: its findings, a sentence each.
type Check = fn(&Site) -> Vec<String>;

/// Fails with every finding on a line of its own.
fn assert_clean(check: Check) {
    let site = Site::load(&book_dir()).expect("the built book");
    let findings = check(&site);
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// A test for each check, because each is reported by its name.
macro_rules! the_book_is_clean {
    ($($name:ident: $check:path,)*) => {$(
        #[test]
        #[ignore = "needs the built book: cargo book test"]
        fn $name() {
            assert_clean($check);
        }
    )*};
}

the_book_is_clean! {
    every_link_and_fragment_leads_somewhere: links::dead_links,
    everything_that_is_loaded_is_there: assets::missing_assets,
    nothing_is_loaded_from_another_host: assets::external_assets,
    no_file_is_heavy: assets::heavy_files,
    no_mark_is_left_over: content::leftover_marks,
    all_mathematics_is_rendered: content::unrendered_math,
    every_page_has_a_title_and_one_heading: content::headings_and_titles,
    every_figure_has_a_drawing_a_name_and_a_caption: content::incomplete_figures,
    every_interactive_figure_has_a_question_a_drawing_and_data: content::broken_interactives,
    every_image_has_an_alternative_text: content::images_without_words,
    every_table_row_has_a_cell_for_each_column: content::ragged_tables,
    no_code_block_is_empty: content::empty_code,
}

// The checks of the checks.

/// A page with nothing wrong, as mdBook writes it in outline.
const SOUND: &str = r##"<!DOCTYPE html>
<html><head><title>Lab</title><link rel="stylesheet" href="book.css"></head><body>
<h1 class="menu-title">The book</h1>
<main>
<h1 id="lab"><a class="header" href="#lab">Lab</a></h1>
<p><a href="other%20page.html#place">there</a>, <a href="labs/">a folder</a>,
<a href="https://example.org/x#y">another host</a>, and 5 \ 3 or $5.</p>
<p><span class="katex"><math><annotation>\frac{a}{b}</annotation></math></span> <code>$$ \frac</code></p>
<figure class="plot"><svg role="img" aria-labelledby="t"><title id="t">Errors</title></svg>
<figcaption>Errors of the rows.</figcaption></figure>
<figure class="plot interactive" id="f" data-widget="replay"><p class="predict">How many?</p>
<div class="picture"><svg aria-label="s"></svg></div><div class="picture" hidden></div>
<figcaption>Steps.</figcaption><script type="application/json">{"a": [1]}</script></figure>
<table><thead><tr><th>a</th><th>b</th></tr></thead>
<tbody><tr><td>1</td><td>2</td></tr><tr><td colspan="2">3</td></tr></tbody></table>
<pre><code>let x = 1;</code></pre>
<img src="picture.png" alt="">
</main></body></html>"##;

/// Builds a small book around this first page, hands it to the check and returns what it finds.
fn findings(check: Check, page: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |path: &str, text: &str| {
        let file = folder.path().join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, text).expect("a file");
    };
    let plain = |body: &str| {
        format!("<title>t</title><main><h1>t</h1>{body}<a href='../index.html#lab'>up</a></main>")
    };
    write("index.html", page);
    write("other page.html", &plain("<i id='place'></i>").replace("../", ""));
    write("labs/index.html", &plain(""));
    write("toc.html", "<a href='index.html'>no heading, no title: not a chapter</a>");
    let not_found = plain("").replace("../", "").replace("<title>", "<base href='/'><title>");
    write("404.html", &not_found);
    write("book.css", "/* url(gone.png) */ a { background: url( 'picture.png' ) }");
    write("picture.png", "");
    check(&Site::load(folder.path()).expect("a site"))
}

/// The check must pass the sound page, and on the page with the flaw say these words.
#[track_caller]
fn assert_bites(check: Check, sound: &str, flawed: &str, words: &str) {
    assert_eq!(findings(check, SOUND), Vec::<String>::new(), "the sound page must pass");
    assert!(SOUND.contains(sound), "the sound page has no {sound}");
    let found = findings(check, &SOUND.replace(sound, flawed));
    let start: String = flawed.chars().take(200).collect();
    assert!(
        found.iter().any(|finding| finding.contains(words)),
        "{start} must be found with the words «{words}», and this was found: {found:#?}"
    );
}

/// Of each check: what is replaced in the sound page, by what, and words of the finding.
const FLAWS: [(Check, &str, &str, &str); 31] = [
    (links::dead_links, "other%20page.html#place", "gone.html", "link gone.html leads"),
    (links::dead_links, "#place", "#elsewhere", "a place that other page.html does not"),
    (links::dead_links, "href=\"#lab\"", "href=\"#lib\"", "link #lib leads to a place"),
    (links::dead_links, "labs/", "solutions/", "solutions/index.html, which is not"),
    (assets::missing_assets, "src=\"picture.png\"", "src=\"gone.png\"", "gone.png"),
    (assets::missing_assets, "book.css", "gone.css", "gone.css, which is not there"),
    (
        assets::missing_assets,
        "</head>",
        "<style>@font-face { src: url(gone.woff2) }</style></head>",
        "gone.woff2, which is not there",
    ),
    (
        assets::external_assets,
        "=\"picture.png\"",
        "=\"https://example.org/a.png\"",
        "example.org/a",
    ),
    (assets::external_assets, "href=\"book.css\"", "href=\"//cdn.example/b.css\"", "cdn"),
    (
        assets::external_assets,
        "</head>",
        "<script src='http://example.org/x.js'></script></head>",
        "example.org/x.js",
    ),
    (
        assets::external_assets,
        "</head>",
        "<style>@import \"https://example.org/y.css\";</style></head>",
        "example.org/y.css",
    ),
    (content::leftover_marks, "<pre>", "{{#figure rows}}<pre>", "{{#figure rows}}"),
    (content::unrendered_math, "there</a>", "there</a> $$ s $$", "typed: $$ s $$"),
    (content::unrendered_math, "there</a>", "there</a> \\frac12", "typed: \\frac12"),
    (content::unrendered_math, "there</a>", "there</a> $w_i$", "typed: $w_i$"),
    (content::unrendered_math, "Errors of", "<b class=\"katex-error\">x</b>", "KaTeX refused x"),
    (content::headings_and_titles, "<pre>", "<h1>Again</h1><pre>", "2 first-level headings"),
    (content::headings_and_titles, "<h1 id=\"lab\">", "<h2 id=\"lab\">", "0 first-level headings"),
    (content::headings_and_titles, "<title>Lab</title>", "<title> </title>", "it has no title"),
    (content::incomplete_figures, "<title id=\"t\">Errors</title>", "", "has no name"),
    (content::incomplete_figures, "labelledby=\"t\"", "labelledby=\"u\"", "has no name"),
    (content::incomplete_figures, "Errors of the rows.", " ", "has no caption"),
    (content::incomplete_figures, "svg", "div", "«Errors of the rows.» has no drawing"),
    (content::broken_interactives, "How many?", "Many.", "«f» asks nothing"),
    (content::broken_interactives, "{\"a\": [1]}", "{&quot;a&quot;}", "«f» has no data"),
    (content::broken_interactives, " data-widget=\"replay\"", "", "«f» names no script"),
    (content::broken_interactives, "picture\" hidden", "picture\"", "not show one drawing"),
    (content::images_without_words, " alt=\"\"", "", "picture.png has no alternative"),
    (content::ragged_tables, "<td>2</td>", "", "a table of 2 columns has a row of 1 cells: 1"),
    (content::ragged_tables, "<tbody>", "<tbody></tbody><!--", "that starts «a» has no rows"),
    (content::empty_code, "let x = 1;", "\n", "a code block after «Lab» is empty"),
];

#[test]
fn every_flaw_is_found_by_its_check() {
    for (check, sound, flawed, words) in FLAWS {
        assert_bites(check, sound, flawed, words);
    }
}

#[test]
fn a_heavy_file_is_found() {
    let heavy = format!("let x = 1; {}", "x".repeat(1 << 20));
    assert_bites(assets::heavy_files, "let x = 1;", &heavy, " kB, more than 1024");
}

#[test]
fn a_folder_without_a_book_says_how_to_build_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = Site::load(folder.path()).err().expect("an error").to_string();
    assert!(error.contains("run `cargo book build`"), "{error}");
}
