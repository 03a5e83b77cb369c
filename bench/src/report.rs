//! Tables of figures, as markdown and as JSON.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::Result;
use crate::peers::ALL;

/// The figures of all peers for one question.
pub struct Table {
    pub title: String,
    /// Heading of each column, and its figures' decimals.
    pub columns: Vec<(String, usize)>,
    /// Name of each row, and a figure for each column; `None` where the peer can't do the work.
    pub rows: Vec<(String, Vec<Option<f64>>)>,
}

impl Table {
    fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n| |", self.title);
        let headings = self.columns.iter().map(|(heading, _)| format!(" {heading} |"));
        text.extend(headings);
        writeln!(text, "\n|---|{}", "---:|".repeat(self.columns.len())).unwrap();
        for (name, figures) in &self.rows {
            write!(text, "| {name} |").unwrap();
            for (figure, (_, decimals)) in figures.iter().zip(&self.columns) {
                match figure {
                    Some(figure) => write!(text, " {figure:.decimals$} |").unwrap(),
                    None => text.push_str(" – |"),
                }
            }
            text.push('\n');
        }
        text
    }

    fn json(&self) -> Value {
        let row = |(name, figures): &(String, Vec<Option<f64>>)| {
            let headings = self.columns.iter().map(|(heading, _)| heading.clone());
            let figures = headings.zip(figures.iter().map(|figure| json!(figure)));
            (name.clone(), Value::Object(figures.collect()))
        };
        json!({ "title": self.title, "rows": self.rows.iter().map(row).collect::<Map<_, _>>() })
    }
}

/// What one run of a suite has found.
pub struct Report {
    pub suite: &'static str,
    pub quick: bool,
    pub tables: Vec<Table>,
}

impl Report {
    pub fn markdown(&self) -> String {
        let tables: Vec<_> = self.tables.iter().map(Table::markdown).collect();
        let versions: Vec<_> =
            versions().map(|(name, version)| format!("{name} {version}")).collect();
        let quick = if self.quick { " A quick run: not to quote." } else { "" };
        let (suite, tables, versions) = (self.suite, tables.join("\n"), versions.join(", "));
        format!("## {suite}\n\n{tables}\nOn {}, with {versions}.{quick}\n", processor())
    }

    /// Writes `<suite>.md` and `<suite>.json` into the folder.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let versions = versions().map(|(name, version)| (name.to_owned(), version.into()));
        let json = json!({
            "suite": self.suite,
            "quick": self.quick,
            "processor": processor(),
            "versions": versions.collect::<Map<_, _>>(),
            "tables": self.tables.iter().map(Table::json).collect::<Vec<_>>(),
        });
        fs::create_dir_all(folder)?;
        fs::write(folder.join(self.suite).with_extension("md"), self.markdown())?;
        fs::write(folder.join(self.suite).with_extension("json"), format!("{json:#}\n"))?;
        Ok(())
    }
}

/// The peers that are crates, each with the version this program was built with.
fn versions() -> impl Iterator<Item = (&'static str, &'static str)> {
    const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));
    ALL.iter().filter_map(|peer| {
        let (_, entry) = LOCK.split_once(&format!("name = \"{}\"\nversion = \"", peer.name))?;
        Some((peer.name, entry.split('"').next()?))
    })
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("an unknown processor", |(_, model)| model).to_owned()
}
