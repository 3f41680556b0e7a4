//! What a client sees when nodes, links, speakers and the API server fail, or people plan changes:
//! Herald beside MetalLB, case by case, in one run.

mod act;
mod args;
mod case;
mod cluster;
mod document;
mod kept;
mod outcome;
mod rows;

use anyhow::Result;

pub(crate) use self::args::FailoverArgs;
use self::case::{Case, Group};
use self::cluster::Cluster;
use self::kept::Kept;
use self::outcome::Results;

/// Errors in a row after which a case is given up.
const PATIENCE: usize = 3;

/// Measures all cases and prints the table.
pub(crate) async fn run(args: &FailoverArgs) -> Result<()> {
    crate::setup::warm_page_cache()?;
    let mut results = Results::default();
    let mut kept = Kept::open(args.results())?;
    kept.read(&mut results)?;
    for group in Group::ALL {
        for contestant in args.contestants() {
            let cases = args.cases().filter(|case| case.group() == group);
            let is_due = |case: &Case| {
                results.rounds(*case, contestant).len() < args.rounds(*case, contestant)
            };
            let cases: Vec<Case> = cases.filter(is_due).collect();
            if cases.is_empty() {
                continue;
            }
            let mut cluster = Cluster::start(contestant, group).await?;
            for case in cases {
                measure(case, &mut cluster, args, &mut results, &mut kept).await?;
                if let Some(path) = args.document() {
                    // After every case, so that an interrupted run leaves what it has.
                    document::write(path, args, &results)?;
                }
            }
            cluster.down().await?;
        }
    }
    if let Some(path) = args.document() {
        document::write(path, args, &results)?;
    }
    crate::print(&rows::table(&results))?;
    Ok(())
}

/// All rounds of one case of one contestant.
async fn measure(
    case: Case,
    cluster: &mut Cluster,
    args: &FailoverArgs,
    results: &mut Results,
    kept: &mut Kept,
) -> Result<()> {
    let contestant = cluster.contestant();
    let rounds = args.rounds(case, contestant);
    let before = results.rounds(case, contestant).len();
    let (mut done, mut errors) = (before, 0);
    while done < rounds && errors < PATIENCE {
        match act::round(case, cluster, args).await {
            Ok(outcome) => {
                (done, errors) = (done + 1, 0);
                eprintln!("{contestant}, {case}, round {done} of {rounds}: {outcome}");
                kept.add(case, contestant, outcome)?;
                results.add(case, contestant, outcome);
            }
            Err(error) => {
                errors += 1;
                eprintln!("{contestant}, {case}: cannot be measured: {error:#}");
                results.add_error(case, contestant, format!("{error:#}"));
            }
        }
    }
    Ok(())
}
