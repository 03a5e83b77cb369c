//! Tables of figures, as markdown and as JSON, with plots.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::Result;
use crate::plot::{self, Plot};

/// The figures of all peers for one question.
pub struct Table {
    pub title: String,
    /// Heading of each column, and its figures' decimals.
    pub columns: Vec<(String, usize)>,
    /// Name of each row, and a figure for each column; `None` where the peer can't do the work.
    pub rows: Vec<(String, Vec<Option<f64>>)>,
    /// What to draw of it, if it is worth it.
    pub plot: Option<Plot>,
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
    /// Names and versions of what was measured.
    pub versions: Vec<(String, String)>,
    pub tables: Vec<Table>,
}

impl Report {
    pub fn markdown(&self) -> String {
        let tables = (1..).zip(&self.tables).map(|(number, table)| {
            let plot = match table.plot {
                Some(_) => format!("\n![{}]({})\n", table.title, self.plot_name(number)),
                None => String::new(),
            };
            table.markdown() + &plot
        });
        let tables = tables.collect::<Vec<_>>().join("\n");
        let versions: Vec<_> =
            self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let quick = if self.quick { " A quick run: not to quote." } else { "" };
        let (suite, versions) = (self.suite, versions.join(", "));
        format!("## {suite}\n\n{tables}\nOn {}, with {versions}.{quick}\n", processor())
    }

    /// Writes `<suite>.md`, `<suite>.json`, and the plots of the tables, `<suite>-<number>.svg`, into the
    /// folder.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let versions = self.versions.iter().map(|(name, version)| (name.clone(), json!(version)));
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
        for (number, table) in (1..).zip(&self.tables) {
            if let Some(plot) = &table.plot {
                plot::draw(table, plot, &folder.join(self.plot_name(number)))?;
            }
        }
        Ok(())
    }

    fn plot_name(&self, number: usize) -> String {
        format!("{}-{number}.svg", self.suite)
    }
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("an unknown processor", |(_, model)| model).to_owned()
}
