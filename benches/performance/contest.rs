//! Rounds in which all systems take turns: a machine that becomes slower does so for all of them.

use crate::figures::Figure;
use crate::load::{self, Heard};
use crate::options::Options;
use crate::systems::System;

/// The medians of all turns, system by system.
pub(crate) async fn hold(systems: &[System], options: &Options) -> Vec<Figure> {
    hold_with(systems, options, options.crowds()).await
}

/// Likewise, with crowds of one's own.
pub(crate) async fn hold_with(
    systems: &[System],
    options: &Options,
    crowds: &[usize],
) -> Vec<Figure> {
    let mut turns: Vec<(usize, usize, Heard)> = Vec::new();
    for round in 0..options.rounds() {
        for connections in crowds {
            for turn in 0..systems.len() {
                // Who comes first is another one in every round.
                let nth = (turn + round) % systems.len();
                let system = &systems[nth];
                let how = (*connections, options.turn());
                let heard = load::run(&system.process, &system.asking, how).await;
                turns.push((nth, *connections, heard));
            }
        }
    }
    let mut figures = Vec::new();
    for (nth, system) in systems.iter().enumerate() {
        for connections in crowds {
            let own = turns
                .iter()
                .filter(|(who, how, _)| (who, how) == (&nth, connections));
            let own: Vec<&Heard> = own.map(|(_, _, heard)| heard).collect();
            figures.push(Figure {
                system: system.name,
                connections: *connections,
                heard: median_of(&own),
            });
        }
    }
    figures
}

fn median_of(turns: &[&Heard]) -> Heard {
    let of = |pick: fn(&Heard) -> f64| median(turns.iter().map(|heard| pick(heard)).collect());
    Heard {
        cpu: of(|heard| heard.cpu),
        rate: of(|heard| heard.rate),
        p50: of(|heard| heard.p50),
        p99: of(|heard| heard.p99),
    }
}

/// The one in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
