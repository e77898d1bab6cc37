//! The built book for readers who listen, use the keyboard or see less: axe-core, in Chromium, on
//! every page, light and dark, with no serious and no critical finding.
//!
//! Left out are the two pages that nobody reads on a screen: the one for the printer, which holds
//! the same chapters once more, and the page of a wrong address, which asks for the root of a server.
//!
//! Without a browser this says `SKIPPED` and passes, unless `CI` is set: there it fails. The check
//! of the book is ignored unless it is built: `cargo book test` builds it and runs it.

use anyhow::Result;
use book_tests::browser::axe::{self, Rules};
use book_tests::browser::{DESK, PHONE, Tab, audit, file_url, start_or_skip};
use book_tests::site::{NOT_FOUND_PAGE, Page, Site, book_dir};

#[test]
#[ignore = "needs the built book: cargo book test"]
fn axe_finds_nothing_serious_on_any_page_light_or_dark() {
    let Some(mut browser) = start_or_skip() else { return };
    let site = Site::load(&book_dir()).expect("the built book");
    let pages: Vec<&Page> = site.chapters().filter(|page| page.path != NOT_FOUND_PAGE).collect();
    assert!(!pages.is_empty(), "the book has no pages, so this would prove nothing");
    let mut tab = browser.tab().expect("a tab");
    let mut findings = Vec::new();
    for (width, look) in [(DESK, at_the_desk as Look), (PHONE, on_the_phone)] {
        tab.set_width(width).expect("a width");
        for page in &pages {
            let url = file_url(&site.root().join(&page.path)).expect("an address");
            let found = look(&mut tab, &url).unwrap_or_else(|error| vec![format!("{error:#}")]);
            findings.extend(found.iter().map(|f| format!("{} at {width} px, {f}", page.path)));
        }
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
#[ignore = "needs the built book: cargo book test"]
fn a_screen_reader_hears_whether_the_contents_are_open() {
    let Some(mut browser) = start_or_skip() else { return };
    let mut tab = browser.tab().expect("a tab");
    tab.set_width(DESK).expect("a width");
    tab.open(&file_url(&book_dir().join("index.html")).expect("a page")).expect("it opens");
    for expected in ["true", "false", "true"] {
        let said = tab.evaluate(CONTENTS_STATE).expect("the state");
        assert_eq!(said, expected, "the checkbox of the contents must tell it");
        tab.evaluate("document.getElementById('mdbook-sidebar-toggle').click()").expect("a click");
    }
}

/// What the focusable part of the contents' switch says, if the part that is seen says nothing.
const CONTENTS_STATE: &str = "(async () => {
    await new Promise(done => setTimeout(done, 0));
    const seen = document.getElementById('mdbook-sidebar-toggle');
    if (seen.hasAttribute('aria-expanded')) return 'on the label';
    return document.getElementById('mdbook-sidebar-toggle-anchor').getAttribute('aria-expanded');
})()";

/// Opens a page and says what is wrong with it.
type Look = fn(&mut Tab<'_>, &str) -> Result<Vec<String>>;

/// Every rule in the light theme; in the dark one those that a theme can break.
fn at_the_desk(tab: &mut Tab<'_>, url: &str) -> Result<Vec<String>> {
    tab.open(url)?;
    axe::load(tab)?;
    let mut findings = Vec::new();
    for (theme, rules) in [("light", Rules::All), ("navy", Rules::Colours)] {
        audit::choose_theme(tab, theme)?;
        let found = axe::violations(tab, rules)?;
        findings.extend(found.iter().map(|finding| format!("{theme}: {finding}")));
    }
    Ok(findings)
}

/// What a narrow window can break: more of a page scrolls, and what stood in a line is stacked. A
/// reader who zooms in at a desk has the same.
fn on_the_phone(tab: &mut Tab<'_>, url: &str) -> Result<Vec<String>> {
    tab.open(url)?;
    axe::load(tab)?;
    axe::violations(tab, Rules::Sizes)
}

// The checks of the checks.

/// A page with nothing wrong.
const SOUND: &str = r##"<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Lab</title><link rel="icon" href="data:,">
<style>body { background: #fff; color: #222 } a { color: #1b5e9e }</style></head>
<body><main><h1>Lab</h1>
<p>Words, a <a href="#x">link</a>. <img alt="A red dot" src="data:image/gif;base64,R0lGODlhAQABAAAAACw="></p>
<label for="alpha">Alpha</label> <input id="alpha" type="range">
<ul><li><button>Draw again</button></li></ul>
<details><summary>Hint</summary><p style="color: #444">Half.</p></details>
<pre tabindex="0" style="overflow-x: auto; width: 60px">cargo book grade lab-01</pre>
</main></body></html>"##;

/// What is replaced in the sound page, by what, and what must be found: the rule, and the element.
const FLAWS: [(&str, &str, &str, &str); 10] = [
    ("alt=\"A red dot\" ", "", "critical: image-alt: ", "img"),
    ("color: #222", "color: #999", "serious: color-contrast: ", "p"),
    ("color: #444", "color: #aaa", "serious: color-contrast: ", "Half."),
    (" for=\"alpha\"", "", "critical: label: ", "#alpha"),
    (">Draw again<", "><", "critical: button-name: ", "button"),
    (">link<", "><", "serious: link-name: ", "<a href=\"#x\">"),
    (" lang=\"en\"", "", "serious: html-has-lang: ", "html"),
    ("<title>Lab</title>", "", "serious: document-title: ", "html"),
    ("<ul><li>", "<ul><b>no item</b><li>", "serious: list: ", "ul"),
    ("tabindex=\"0\" ", "", "serious: scrollable-region-focusable: ", "pre"),
];

#[test]
fn axe_finds_what_keeps_readers_out_and_says_where() {
    let Some(mut browser) = start_or_skip() else { return };
    let mut tab = browser.tab().expect("a tab");
    tab.set_width(DESK).expect("a width");
    assert_eq!(findings(&mut tab, SOUND, Rules::All), Vec::<String>::new(), "it is sound");
    let mut missed = Vec::new();
    for (sound, flawed, rule, element) in FLAWS {
        assert!(SOUND.contains(sound), "the sound page has no {sound}");
        let found = findings(&mut tab, &SOUND.replacen(sound, flawed, 1), Rules::All);
        let told = |finding: &String| finding.starts_with(rule) && finding.contains(element);
        if !found.iter().any(told) {
            missed.push(format!("without {sound} it must say {rule}… {element}, not {found:#?}"));
        }
    }
    assert!(missed.is_empty(), "\n{}\n", missed.join("\n"));
}

#[test]
fn the_rules_that_a_theme_or_a_width_can_break_are_found_by_themselves() {
    let Some(mut browser) = start_or_skip() else { return };
    let mut tab = browser.tab().expect("a tab");
    tab.set_width(PHONE).expect("a width");
    let small = "<button style='font-size: 6px; padding: 0; border: 0'>x</button>";
    let crowded = format!("</button>{small}{small}");
    for (rules, sound, flawed, rule) in [
        (Rules::Colours, "color: #222", "color: #999", "color-contrast"),
        (Rules::Sizes, "tabindex=\"0\" ", "", "scrollable-region-focusable"),
        (Rules::Sizes, "</button>", crowded.as_str(), "target-size"),
    ] {
        assert_eq!(findings(&mut tab, SOUND, rules), Vec::<String>::new(), "it is sound");
        let found = findings(&mut tab, &SOUND.replacen(sound, flawed, 1), rules);
        assert!(found.iter().any(|finding| finding.contains(rule)), "{rules:?}: {found:#?}");
    }
}

/// What axe says of a page of this text.
fn findings(tab: &mut Tab<'_>, html: &str, rules: Rules) -> Vec<String> {
    tab.open_text(html).expect("the page opens");
    axe::load(tab).expect("axe");
    axe::violations(tab, rules).expect("an answer")
}
