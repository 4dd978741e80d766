//! How fast the views of posts, likes and follows are built from a long log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use projector::social::{Follows, Posts};
use projector::{Projection, ProjectionState, Projector};
use service::shutdown::Tasks;
use tests::chorus::Chorus;
use views::ViewStore;

use super::{Findings, progress};
use crate::baseline;
use crate::deployment::{Deployment, Engine};
use crate::table::{Bound, Ratio, rate};
use crate::world::{self, World};

const PEOPLE: usize = 2000;
const ROUNDS: usize = 3;
const POLL: Duration = Duration::from_millis(2);
const LIMIT: Duration = Duration::from_hours(1);

/// Runs projections until they reach a position; returns the time it took.
pub(crate) async fn project(
    chorus: &Chorus,
    store: Arc<dyn ViewStore>,
    projections: Vec<Arc<dyn Projection>>,
    until: u64,
) -> Result<Duration> {
    let (tasks, count) = (Tasks::default(), projections.len());
    let projector = Projector { log: chorus.log().await?, store };
    let start = Instant::now();
    let statuses = projector::run(&projector, projections, &tasks);
    loop {
        let states = statuses.all();
        let passed =
            |state: &&ProjectionState| matches!(state, ProjectionState::Following(at) if *at >= until);
        if states.values().filter(passed).count() == count {
            break;
        }
        // One that stands still on a busy machine goes on.
        let has_stopped = states.values().any(|state| matches!(state, ProjectionState::Stopped(_)));
        if start.elapsed() > LIMIT || has_stopped {
            bail!("the projections do not reach {until}: {states:?}");
        }
        tokio::time::sleep(POLL).await;
    }
    let taken = start.elapsed();
    tasks.stop().await;
    Ok(taken)
}

pub(crate) async fn catch_up(engine: Engine, length: usize, findings: &mut Findings) -> Result<()> {
    let deployment = Deployment::start(engine).await?;
    let name = engine.name();
    progress(&format!("{name}: appending {length} events"));
    let log = deployment.chorus.log().await?;
    let mut world = World::new(2);
    world::append(&log, world.sign_up(PEOPLE)).await?;
    world::append(&log, world.publish(1)).await?;
    let history = world.history(length);
    let writes = world::plain_writes(&history);
    world::append(&log, history).await?;
    let head = log.raw().head().await?.0;
    // The deployment's own projector must be idle.
    deployment.chorus.settle().await?;

    let (mut of_chorus, mut of_baseline) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        progress(&format!("{name}: catch-up, round {round} of {ROUNDS}"));
        let folder = tempfile::tempdir_in(deployment.chorus.folder())?;
        of_baseline.push(match deployment.baseline_distributed().await? {
            None => baseline::Standalone::catch_up(folder.path(), &writes)?,
            Some(baseline) => baseline.catch_up(&writes).await?,
        });
        let setting = match &deployment.chorus.mongo {
            None => format!("sqlite:{}", folder.path().join("views.db").display()),
            Some(mongo) => mongo.url(&format!("round{round}")),
        };
        let store = Arc::clone(views::open(&setting).await?.base());
        let projections: Vec<Arc<dyn Projection>> = vec![Arc::new(Posts), Arc::new(Follows)];
        of_chorus.push(project(&deployment.chorus, store, projections, head).await?);
    }
    let per_second = |mut rounds: Vec<Duration>| {
        rounds.sort();
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let events = length as f64;
        events / rounds[rounds.len() / 2].as_secs_f64()
    };
    let (chorus, baseline) = (per_second(of_chorus), per_second(of_baseline));
    findings.ratios.push(Ratio {
        what: format!("catch-up of posts, likes and follows over {length} events"),
        engine: name,
        chorus: rate(chorus),
        baseline: rate(baseline),
        value: chorus / baseline,
        bound: Bound::AtLeast(0.5),
        goal: None,
    });
    Ok(())
}
