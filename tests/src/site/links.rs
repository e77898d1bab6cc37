//! Do the links lead somewhere?

use std::collections::{HashMap, HashSet};

use percent_encoding::percent_decode_str;

use super::{Page, Site};

/// Where an address leads.
pub(super) enum Target {
    /// To another host, or to a program other than the browser.
    Elsewhere,
    /// To a file of the site, and maybe to a place in it.
    Inside { path: String, fragment: Option<String> },
}

/// Links to pages that are not there, or to a `#fragment` that the page does not have.
pub fn dead_links(site: &Site) -> Vec<String> {
    let fragments: HashMap<&str, HashSet<&str>> =
        site.pages().iter().map(|page| (page.path.as_str(), page.fragments())).collect();
    let mut findings = Vec::new();
    for page in site.pages() {
        for link in page.select("a[href], area[href]") {
            let href = link.attr("href").unwrap_or_default();
            if let Some(fault) = fault(site, &fragments, page, href) {
                findings.push(page.finding(format!("link {href} {fault}")));
            }
        }
    }
    findings.dedup();
    findings
}

/// Why this link is dead, if it is.
fn fault(
    site: &Site,
    fragments: &HashMap<&str, HashSet<&str>>,
    page: &Page,
    href: &str,
) -> Option<String> {
    let Target::Inside { path, fragment } = resolve(&page.path, page.is_rooted(), href) else {
        return None;
    };
    if !site.root().join(&path).is_file() {
        return Some(format!("leads to {path}, which is not there"));
    }
    let fragment = fragment.filter(|fragment| !fragment.is_empty())?;
    let known = fragments.get(path.as_str())?;
    (!known.contains(fragment.as_str()))
        .then(|| format!("leads to a place that {path} does not have"))
}

/// Finds the file that an address means in the page or sheet at `from`: relative to its folder, or
/// to the root of the site if it is `rooted`.
pub(super) fn resolve(from: &str, rooted: bool, address: &str) -> Target {
    if has_scheme(address) || address.starts_with("//") {
        return Target::Elsewhere;
    }
    let (address, fragment) = match address.split_once('#') {
        Some((address, fragment)) => (address, Some(decode(fragment))),
        None => (address, None),
    };
    let file = decode(address.split('?').next().unwrap_or_default());
    let path = if file.is_empty() { from.to_owned() } else { join(from, rooted, &file) };
    Target::Inside { path, fragment }
}

/// `https:`, `mailto:`, `data:` and their like.
fn has_scheme(address: &str) -> bool {
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    address
        .split_once(':')
        .is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.chars().all(name))
}

fn join(from: &str, rooted: bool, file: &str) -> String {
    let from_root = rooted || file.starts_with('/');
    let mut parts: Vec<&str> = if from_root { vec![] } else { from.split('/').collect() };
    parts.pop();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    if file.ends_with('/') || parts.is_empty() {
        parts.push("index.html");
    }
    parts.join("/")
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
