//! The figures in `docs/performance.md`; what people write around them stays.

use std::path::Path;

use crate::figures::Finding;
use crate::report;
use crate::world::World;

const BEGIN: &str = "<!-- figures: written by `cargo bench --bench performance` -->";
const END: &str = "<!-- end of the figures -->";

pub(crate) fn write(world: &World, findings: &[Finding]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let mut figures = format!(
        "{}\n\n{}\n{}",
        report::described(world),
        report::summary(findings),
        report::verdicts(findings)
    );
    for finding in findings {
        figures += &report::one(finding);
    }
    let text = format!("{before}{BEGIN}\n\n{figures}\n{END}{after}");
    std::fs::write(path, text).unwrap();
}
