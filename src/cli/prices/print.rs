//! What the commands about prices print: for people on a terminal, else for programs.

use std::io::IsTerminal;

use serde_json::{Map, Value, json};

use super::update::Updated;
use crate::cli::output::print;
use crate::cli::{Failure, table};
use crate::price::{Price, Prices, form, table as built_in};

/// A table; one line a model, with tabs, where nobody looks.
pub(super) fn list(prices: &Prices) -> Result<(), Failure> {
    let rows: Vec<_> = prices
        .all()
        .into_iter()
        .map(|(model, (price, source))| {
            [
                model.to_owned(),
                form::words(&price),
                source.as_str().to_owned(),
            ]
        })
        .collect();
    if !std::io::stdout().is_terminal() {
        return print(&table::tabbed(&rows));
    }
    let table = table::aligned(["MODEL", "PRICE", "FROM"], &rows);
    let about = format!(
        "\nBuilt-in prices are RelayDance's of {}; `reprise prices update` asks for the present ones.\n",
        built_in::AS_OF
    );
    print(&(table + &about))
}

/// One line of JSON: a list of models.
pub(super) fn list_json(prices: &Prices) -> Result<(), Failure> {
    let rows = prices.all().into_iter().map(|(model, (price, source))| {
        let mut row = as_json(&price);
        row.insert("model".to_owned(), model.into());
        row.insert("source".to_owned(), source.as_str().into());
        Value::Object(row)
    });
    line(&rows.collect())
}

/// What changed, one line each.
pub(super) fn update(updated: &Updated) -> Result<(), Failure> {
    let Updated {
        listed, changes, ..
    } = updated;
    let row = |what: &str, model: &str, how: String| [what.to_owned(), model.to_owned(), how];
    let mut rows = Vec::new();
    for (model, price) in &changes.added {
        rows.push(row("added", model, form::words(price)));
    }
    for (model, (old, new)) in &changes.changed {
        let how = format!("{} -> {}", form::words(old), form::words(new));
        rows.push(row("changed", model, how));
    }
    for model in &changes.gone {
        let how = "no longer listed; its price stays as it is".to_owned();
        rows.push(row("gone", model, how));
    }
    for model in &listed.without {
        let how = "listed without a price that can be written; it counts as before".to_owned();
        rows.push(row("unclear", model, how));
    }
    if !std::io::stdout().is_terminal() {
        return print(&(table::tabbed(&rows) + &end(updated)));
    }
    let table = if rows.is_empty() {
        String::new()
    } else {
        table::aligned(["", "MODEL", "PRICE"], &rows)
    };
    print(&(table + &end(updated)))
}

/// The last line: where the list was read, and what was written.
fn end(updated: &Updated) -> String {
    let count = updated.changes.new_prices().count();
    let same = updated.changes.unchanged;
    let written = match (&updated.file, updated.dry_run) {
        _ if count == 0 => "nothing to write".to_owned(),
        (Some(file), false) => format!("wrote {count} into {}", file.display()),
        (Some(file), true) => format!("{count} to be written into {}", file.display()),
        (None, _) => format!("{count} to be written into a new file"),
    };
    let dry = if updated.dry_run { " (dry run)" } else { "" };
    let url = &updated.url;
    format!("{url}: {same} prices as they were, {written}{dry}\n")
}

/// The same as one line of JSON.
pub(super) fn update_json(updated: &Updated) -> Result<(), Failure> {
    let Updated {
        url,
        listed,
        changes,
        file,
        dry_run,
    } = updated;
    let one = |model: &String, mut price: Map<String, Value>| {
        price.insert("model".to_owned(), model.as_str().into());
        Value::Object(price)
    };
    let added = changes.added.iter();
    let added: Vec<_> = added
        .map(|(model, price)| one(model, as_json(price)))
        .collect();
    let changed = changes.changed.iter().map(
        |(model, (old, new))| json!({"model": model, "from": as_json(old), "to": as_json(new)}),
    );
    line(&json!({
        "upstream": url, "dry_run": dry_run, "file": file, "added": added,
        "changed": changed.collect::<Vec<_>>(), "gone": changes.gone, "unclear": listed.without,
        "unchanged": changes.unchanged,
    }))
}

/// The forms that a price has, by their keys.
fn as_json(price: &Price) -> Map<String, Value> {
    let said = form::forms(price).into_iter();
    said.filter_map(|(form, usd)| Some((form.to_owned(), usd?.into())))
        .collect()
}

fn line(what: &Value) -> Result<(), Failure> {
    print(&format!("{what}\n"))
}
