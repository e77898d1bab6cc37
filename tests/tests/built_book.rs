//! The built book as files: nothing missing, nothing foreign, nothing unfinished.
//!
//! The checks of the book are ignored unless it is built: `cargo book test` builds it and runs
//! them. The checks themselves are held to small broken books, which needs nothing.

use std::fs;

use book_tests::site::{Site, assets, book_dir, content, links};

/// Fails with every finding on a line of its own.
fn assert_clean(check: fn(&Site) -> Vec<String>) {
    let site = Site::load(&book_dir()).expect("the built book");
    let findings = check(&site);
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn every_link_and_fragment_leads_somewhere() {
    assert_clean(links::dead_links);
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn everything_that_is_loaded_is_there() {
    assert_clean(assets::missing_assets);
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn nothing_is_loaded_from_another_host() {
    assert_clean(assets::external_assets);
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn no_file_is_heavy() {
    assert_clean(assets::heavy_files);
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn no_mark_is_left_over() {
    assert_clean(content::leftover_marks);
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn all_mathematics_is_rendered() {
    assert_clean(content::unrendered_math);
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn every_page_has_a_title_and_one_heading() {
    assert_clean(content::headings_and_titles);
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn every_figure_has_a_drawing_a_name_and_a_caption() {
    assert_clean(content::incomplete_figures);
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn every_interactive_figure_has_a_question_a_drawing_and_data() {
    assert_clean(content::broken_interactives);
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn every_image_has_an_alternative_text() {
    assert_clean(content::images_without_words);
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn every_table_row_has_a_cell_for_each_column() {
    assert_clean(content::ragged_tables);
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn no_code_block_is_empty() {
    assert_clean(content::empty_code);
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
fn findings(check: fn(&Site) -> Vec<String>, page: &str) -> Vec<String> {
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
fn assert_bites(check: fn(&Site) -> Vec<String>, sound: &str, flawed: &str, words: &str) {
    assert_eq!(findings(check, SOUND), Vec::<String>::new(), "the sound page must pass");
    assert!(SOUND.contains(sound), "the sound page has no {sound}");
    let found = findings(check, &SOUND.replace(sound, flawed));
    let start: String = flawed.chars().take(200).collect();
    assert!(
        found.iter().any(|finding| finding.contains(words)),
        "{start} must be found with the words «{words}», and this was found: {found:#?}"
    );
}

#[test]
fn a_dead_link_is_found() {
    assert_bites(links::dead_links, "other%20page.html#place", "gone.html", "link gone.html leads");
}

#[test]
fn a_wrong_fragment_is_found() {
    assert_bites(
        links::dead_links,
        "#place",
        "#elsewhere",
        "a place that other page.html does not",
    );
    assert_bites(links::dead_links, "href=\"#lab\"", "href=\"#lib\"", "link #lib leads to a place");
}

#[test]
fn a_folder_without_a_page_is_found() {
    assert_bites(links::dead_links, "labs/", "solutions/", "solutions/index.html, which is not");
}

#[test]
fn a_missing_image_or_sheet_is_found() {
    assert_bites(assets::missing_assets, "src=\"picture.png\"", "src=\"gone.png\"", "gone.png");
    assert_bites(assets::missing_assets, "book.css", "gone.css", "gone.css, which is not there");
    let style = "<style>@font-face { src: url(gone.woff2) }</style></head>";
    assert_bites(assets::missing_assets, "</head>", style, "gone.woff2, which is not there");
}

#[test]
fn an_asset_of_another_host_is_found() {
    let image = "src=\"https://example.org/a.png\"";
    assert_bites(assets::external_assets, "src=\"picture.png\"", image, "example.org/a.png");
    assert_bites(
        assets::external_assets,
        "href=\"book.css\"",
        "href=\"//cdn.example/b.css\"",
        "cdn",
    );
    let script = "<script src='http://example.org/x.js'></script></head>";
    assert_bites(assets::external_assets, "</head>", script, "example.org/x.js");
    let style = "<style>@import \"https://example.org/y.css\";</style></head>";
    assert_bites(assets::external_assets, "</head>", style, "example.org/y.css");
}

#[test]
fn a_heavy_file_is_found() {
    let heavy = format!("let x = 1; {}", "x".repeat(1 << 20));
    assert_bites(assets::heavy_files, "let x = 1;", &heavy, " kB, more than 1024");
}

#[test]
fn a_left_over_mark_is_found() {
    assert_bites(content::leftover_marks, "<pre>", "{{#figure rows}}<pre>", "{{#figure rows}}");
}

#[test]
fn unrendered_mathematics_is_found() {
    let check = content::unrendered_math;
    assert_bites(check, "there</a>", "there</a> $$ s $$", "typed: $$ s $$");
    assert_bites(check, "there</a>", "there</a> \\frac12", "typed: \\frac12");
    assert_bites(check, "there</a>", "there</a> $w_i$", "typed: $w_i$");
    let error = "there</a> <span class=\"katex-error\">x</span>";
    assert_bites(check, "there</a>", error, "KaTeX refused x");
}

#[test]
fn a_wrong_heading_or_title_is_found() {
    let check = content::headings_and_titles;
    assert_bites(check, "<pre>", "<h1>Again</h1><pre>", "2 first-level headings");
    assert_bites(check, "<h1 id=\"lab\">", "<h2 id=\"lab\">", "0 first-level headings");
    assert_bites(check, "<title>Lab</title>", "<title> </title>", "it has no title");
}

#[test]
fn an_incomplete_figure_is_found() {
    let check = content::incomplete_figures;
    assert_bites(check, "<title id=\"t\">Errors</title>", "", "has no name");
    assert_bites(check, "aria-labelledby=\"t\"", "aria-labelledby=\"u\"", "has no name");
    assert_bites(check, "Errors of the rows.", " ", "has no caption");
    assert_bites(check, "svg", "div", "«Errors of the rows.» has no drawing");
}

#[test]
fn a_broken_interactive_figure_is_found() {
    let check = content::broken_interactives;
    assert_bites(check, "How many?", "Many.", "«f» asks nothing");
    assert_bites(check, "{\"a\": [1]}", "{&quot;a&quot;}", "«f» has no data");
    assert_bites(check, " data-widget=\"replay\"", "", "«f» names no script");
    assert_bites(check, "class=\"picture\" hidden", "class=\"picture\"", "not show one drawing");
}

#[test]
fn an_image_without_words_is_found() {
    assert_bites(content::images_without_words, " alt=\"\"", "", "picture.png has no alternative");
}

#[test]
fn a_ragged_table_is_found() {
    let check = content::ragged_tables;
    assert_bites(check, "<td>2</td>", "", "a table of 2 columns has a row of 1 cells: 1");
    let empty = "<tbody></tbody><!--";
    assert_bites(check, "<tbody>", empty, "the table that starts «a» has no rows");
}

#[test]
fn an_empty_code_block_is_found() {
    assert_bites(content::empty_code, "let x = 1;", "\n", "a code block after «Lab» is empty");
}

#[test]
fn a_folder_without_a_book_says_how_to_build_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = Site::load(folder.path()).err().expect("an error").to_string();
    assert!(error.contains("run `cargo book build`"), "{error}");
}
