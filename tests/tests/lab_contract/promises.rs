//! What the public items of a starter and of a solution promise: signatures and doc comments.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};
use quote::ToTokens;
use syn::{Expr, Item, Visibility};

/// A public item: its signature (of a function) or all of it, and its doc comment.
pub type Promise = (String, String);

/// The public items of a file by name.
pub fn promises(file: &syn::File) -> BTreeMap<String, Promise> {
    let mut promises = BTreeMap::new();
    for item in &file.items {
        let (visibility, name, attributes, promise) = match item {
            Item::Fn(item) => (&item.vis, &item.sig.ident, &item.attrs, tokens(&item.sig)),
            Item::Struct(item) => (&item.vis, &item.ident, &item.attrs, tokens(item)),
            Item::Enum(item) => (&item.vis, &item.ident, &item.attrs, tokens(item)),
            Item::Trait(item) => (&item.vis, &item.ident, &item.attrs, tokens(item)),
            Item::Const(item) => (&item.vis, &item.ident, &item.attrs, tokens(item)),
            _ => continue,
        };
        if matches!(visibility, Visibility::Public(_)) {
            promises.insert(name.to_string(), (promise, docs(attributes)));
        }
    }
    promises
}

fn tokens(item: &impl ToTokens) -> String {
    item.to_token_stream().to_string()
}

/// A doc comment as running text, without the starter's "Task 1. ".
fn docs(attributes: &[syn::Attribute]) -> String {
    let lines = attributes.iter().filter(|attribute| attribute.path().is_ident("doc"));
    let words = lines.filter_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(syn::MetaNameValue {
            value: Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }),
            ..
        }) => Some(text.value()),
        _ => None,
    });
    let text = words.collect::<Vec<_>>().join(" ");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.strip_prefix("Task ").and_then(|rest| rest.split_once(". ")) {
        Some((number, promise)) if number.parse::<u32>().is_ok() => promise.into(),
        _ => text,
    }
}

/// That both make the same promises.
///
/// # Errors
/// If an item is missing or differs; the message says which and how.
pub fn same(
    starter: &BTreeMap<String, Promise>,
    solution: &BTreeMap<String, Promise>,
) -> Result<()> {
    for name in starter.keys().chain(solution.keys()).collect::<BTreeSet<_>>() {
        let (Some(ours), Some(theirs)) = (starter.get(name), solution.get(name)) else {
            bail!("`{name}` is public in one of starter.rs and solution.rs only");
        };
        ensure!(ours.0 == theirs.0, "`{name}` differs:\n  {}\n  {}", ours.0, theirs.0);
        ensure!(
            ours.1 == theirs.1,
            "the promise of `{name}` differs:\n  {}\n  {}",
            ours.1,
            theirs.1
        );
    }
    Ok(())
}
