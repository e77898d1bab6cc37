//! What the pages load: is it there, is it ours, is it light?

use std::path::Path;

use regex::Regex;
use walkdir::WalkDir;

use super::links::{Target, resolve};
use super::{PRINT_PAGE, Page, Site, site_path};

/// No file of the book is heavier than this.
const HEAVIEST: u64 = 1 << 20;

/// Nor the search index than this: it holds the words of all chapters, grows with them, and is loaded
/// when a reader opens the search, not with a page. A server that compresses sends a sixth of it.
const HEAVIEST_INDEX: u64 = 6 << 20;

/// Images, sheets, scripts and fonts that a page or a sheet names and that are not there.
pub fn missing_assets(site: &Site) -> Vec<String> {
    let mut findings = Vec::new();
    for asset in assets(site) {
        if let Target::Inside { path, .. } = asset.target()
            && !site.root().join(&path).is_file()
        {
            findings.push(format!("{}: loads {path}, which is not there", asset.from));
        }
    }
    findings
}

/// What a page or a sheet loads from another host. A link that a reader clicks is another matter.
pub fn external_assets(site: &Site) -> Vec<String> {
    assets(site)
        .iter()
        .filter(|asset| !asset.address.starts_with("data:"))
        .filter(|asset| matches!(asset.target(), Target::Elsewhere))
        .map(|asset| format!("{}: loads {} from another host", asset.from, asset.address))
        .collect()
}

/// Files over one MiB, three for the search index. The page for the printer holds all chapters and is never loaded by itself.
pub fn heavy_files(site: &Site) -> Vec<String> {
    WalkDir::new(site.root())
        .into_iter()
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.metadata().ok()?, entry)))
        .filter(|(metadata, _)| metadata.is_file())
        .map(|(metadata, entry)| (site_path(site.root(), entry.path()), metadata.len()))
        .filter(|(path, _)| path != PRINT_PAGE)
        .filter_map(|(path, bytes)| {
            let most = heaviest(&path);
            let finding = || format!("{path}: {} kB, more than {}", bytes >> 10, most >> 10);
            (bytes > most).then(finding)
        })
        .collect()
}

fn heaviest(path: &str) -> u64 {
    if path.starts_with("searchindex") { HEAVIEST_INDEX } else { HEAVIEST }
}

/// Something that is loaded without a click.
struct Asset {
    /// The page or sheet that loads it.
    from: String,
    /// Whether its addresses start at the root of the site.
    rooted: bool,
    address: String,
}

impl Asset {
    fn target(&self) -> Target {
        resolve(&self.from, self.rooted, &self.address)
    }
}

fn assets(site: &Site) -> Vec<Asset> {
    let mut assets = sheet_assets(site.root());
    for page in site.pages() {
        let (from, rooted) = (&page.path, page.is_rooted());
        let addresses = page_addresses(page).into_iter();
        assets.extend(addresses.map(|address| Asset { from: from.clone(), rooted, address }));
    }
    assets
}

/// The addresses of everything that a page loads by itself.
fn page_addresses(page: &Page) -> Vec<String> {
    let loading = [
        ("link:not([rel='canonical'])", "href"),
        (
            "script[src], img[src], source[src], video[src], audio[src], iframe[src], embed[src]",
            "src",
        ),
        ("video[poster]", "poster"),
        ("object[data]", "data"),
        ("image[href], use[href], feImage[href]", "href"),
    ];
    let mut addresses: Vec<String> = loading
        .iter()
        .flat_map(|(css, attribute)| {
            page.select(css).into_iter().filter_map(|element| element.attr(attribute))
        })
        .map(str::to_owned)
        .collect();
    for element in page.select("img[srcset], source[srcset]") {
        let sources = element.attr("srcset").unwrap_or_default().split(',');
        addresses.extend(sources.filter_map(|s| s.split_whitespace().next()).map(str::to_owned));
    }
    for style in page.select("style") {
        addresses.extend(css_addresses(&style.text().collect::<String>()));
    }
    for element in page.select("[style*='url(']") {
        addresses.extend(css_addresses(element.attr("style").unwrap_or_default()));
    }
    // `url(#id)` and `href="#id"` mean something in the page itself.
    addresses.retain(|address| !address.starts_with('#'));
    addresses
}

/// What the style sheets of the site load.
fn sheet_assets(root: &Path) -> Vec<Asset> {
    let files = WalkDir::new(root).into_iter().filter_map(Result::ok);
    files
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "css"))
        .flat_map(|entry| {
            let from = site_path(root, entry.path());
            let css = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let addresses = css_addresses(&css).into_iter();
            addresses.map(move |address| Asset { from: from.clone(), rooted: false, address })
        })
        .collect()
}

/// What `url(…)` and `@import "…"` name.
fn css_addresses(css: &str) -> Vec<String> {
    let comments = regex(r"(?s)/\*.*?\*/");
    let css = comments.replace_all(css, "");
    let names =
        regex(r#"url\(\s*(?:"([^"]*)"|'([^']*)'|([^"')\s]+))\s*\)|@import\s+["']([^"']+)["']"#);
    names
        .captures_iter(&css)
        .filter_map(|found| found.iter().skip(1).flatten().next().map(|m| m.as_str().to_owned()))
        .collect()
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| panic!("{error}"))
}
