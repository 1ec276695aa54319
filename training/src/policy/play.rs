//! `tiercast policy play`: learners that decide, period after period, about the same simulated members, and learn of what came
//! of their own decisions.
//!
//! Invariant: a learner knows of a period what a shop would: contexts before it, responses to its own decisions after it. Regret
//! is measured against the best action of each member as the learner left it, which only the simulator knows.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, ensure};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Serialize;

use super::simulate::{Shop, draw, members};
use crate::{
    dataset::Dataset,
    fit,
    models::{
        policy::{
            bandit::{Bandit, Optimism},
            learn::{Budget, Decisions, Learning, q_learning, reinforce},
            net::{Net, softmax},
            outcome,
            respond::Responder,
        },
        threads,
    },
    progress,
    project::Project,
};

/// Let learners play in the simulated shop, and compare what they earn and what they miss.
///
/// The members are the project's own, with what core knows of them at each date; their responses are made up, by the model
/// that `tiercast policy simulate` uses. Every learner begins with a period at random, and plays alone from there:
///
///   random        every action alike
///   linucb        LinUCB (Li et al. 2010), one linear model an action
///   thompson      Thompson sampling (Agrawal & Goyal 2013), likewise
///   q-learning    contextual Q-learning, fitted anew each period to all decisions so far, and a share of random ones
///   reinforce     REINFORCE, likewise; --budget adds one that is to keep a budget, period by period: what was paid too much
///                 or too little is made up in the next three periods, and a period costs what the last one's season says
///
/// Printed are means of a decision over all seeds: value (reward less cost), regret (what the best action of the member would
/// have brought more), the regret of the last third of the periods, cost, and what was really paid after the first period.
///
/// Example: tiercast policy play -p tiercast.toml --periods 24 --budget 0.2
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The shop.
    #[command(flatten)]
    pub shop: Shop,
    /// Mean cost of a decision after the first period, for one more learner.
    #[arg(long, value_name = "COST")]
    pub budget: Option<f64>,
    /// Share of the decisions that q-learning and reinforce spread evenly over all actions.
    #[arg(long, default_value_t = 0.05)]
    pub explore: f64,
    /// How many shops are played in, each with coefficients of its own.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub seeds: u64,
    /// Write everything as JSON too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Who plays.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Player {
    Random,
    LinUcb,
    Thompson,
    QLearning,
    Reinforce(Option<f64>),
}

/// What a player did in one shop; means of a decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Played {
    /// Who.
    pub player: String,
    /// Seed of the shop.
    pub seed: u64,
    /// Reward less cost, as it is expected.
    pub value: f64,
    /// What the best actions would have brought more.
    pub regret: f64,
    /// The same of the last third of the periods.
    pub late_regret: f64,
    /// Expected cost.
    pub cost: f64,
    /// Expected cost of the last third of the periods.
    pub late_cost: f64,
    /// What was really paid after the first period.
    pub paid: f64,
}

/// Runs the command.
///
/// # Errors
/// When the tables cannot be read or an argument is out of range.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let all = play(&args)?;
    say!("{}", words(&all, args.budget).trim_end());
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&all)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets all players play in all shops.
///
/// # Errors
/// As [`run`].
pub fn play(args: &Args) -> anyhow::Result<Vec<Played>> {
    args.shop.check()?;
    ensure!(args.shop.periods > 1, "--periods is at least 2: the first one is at random, for all");
    ensure!((0.0..=1.0).contains(&args.explore), "--explore is a share from 0 to 1, not {}", args.explore);
    ensure!(args.budget.is_none_or(|budget| budget > 0.0), "--budget is above 0");
    let rows = args.shop.known(&Project::load(&args.shop.project)?)?;
    let transform = fit::transform(&rows.schema, &rows.features);
    let contexts = fit::apply(&transform, rows.schema.len(), &rows.features);
    let mut players =
        vec![Player::Random, Player::LinUcb, Player::Thompson, Player::QLearning, Player::Reinforce(None)];
    players.extend(args.budget.map(|budget| Player::Reinforce(Some(budget))));
    let games: Vec<(u64, Player)> =
        (1..=args.seeds).flat_map(|seed| players.iter().map(move |player| (seed, *player))).collect();
    let bar = progress::bar(games.len() as u64, "games");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let played = threads::allow(threads, || {
        threads::map(games, |(seed, player)| {
            let game = Game { args, rows: &rows, contexts: &contexts, width: transform.width(), seed };
            let played = game.play(player);
            bar.inc(1);
            played
        })
    });
    bar.finish_and_clear();
    played.into_iter().collect()
}

/// One shop.
struct Game<'g> {
    args: &'g Args,
    rows: &'g Dataset,
    contexts: &'g [f32],
    width: usize,
    seed: u64,
}

/// What a player has seen of its own decisions.
#[derive(Default)]
struct Seen {
    contexts: Vec<f32>,
    actions: Vec<u32>,
    rewards: Vec<f64>,
    costs: Vec<f64>,
    propensities: Vec<f64>,
    members: Vec<u64>,
}

/// How a player decides in a period.
enum Mind {
    Random,
    Bandit(Box<Bandit>),
    /// Shares of a softmax.
    Chances(Net),
    /// The highest value.
    Values(Net),
}

/// Sums over decisions: value, regret and cost, and how many.
#[derive(Clone, Copy, Default)]
struct Sums([f64; 3], f64);

impl Sums {
    fn add(&mut self, more: [f64; 3]) {
        self.0.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        self.1 += 1.0;
    }

    fn mean(&self, at: usize) -> f64 {
        self.0[at] / self.1.max(1.0)
    }
}

/// What a budget still has for a decision.
struct Purse {
    mean: f64,
    paid: f64,
    decisions: usize,
}

impl Purse {
    /// In so many periods at most, what was paid too much or too little is made up.
    const HORIZON: usize = 3;

    /// For each of the decisions to come, of which a period has so many; at least a tenth of the budget, as exploring costs, too.
    fn next(&self, periods_left: usize, a_period: usize) -> f64 {
        let over = self.paid - self.mean * self.decisions as f64;
        let coming = periods_left.clamp(1, Self::HORIZON) * a_period.max(1);
        (self.mean - over / coming as f64).max(self.mean / 10.0)
    }
}

/// Rewards are counted in this unit by bandits, whose width is for rewards about 1.
const UNIT: f64 = 10.0;
/// Folds of an outcome model.
const FOLDS: usize = 5;

impl Game<'_> {
    fn context(&self, row: usize) -> &[f32] {
        &self.contexts[row * self.width..(row + 1) * self.width]
    }

    fn shop(&self, first: &[usize]) -> anyhow::Result<Responder> {
        let begun: Vec<f32> = first.iter().flat_map(|row| self.context(*row)).copied().collect();
        Responder::new(&begun, self.width, self.args.shop.arms.clone(), self.args.shop.params(), self.seed)
    }

    fn play(&self, player: Player) -> anyhow::Result<Played> {
        let (numbers, first) = members(self.rows);
        let mut shop = self.shop(&first)?;
        let (mut mind, mut seen) = (Mind::Random, Seen::default());
        let mut rng = StdRng::seed_from_u64(self.seed);
        let (mut all, mut late, mut from) = (Sums::default(), Sums::default(), 0);
        let mut purse = Purse { mean: player.budget().unwrap_or(0.0), paid: 0.0, decisions: 0 };
        let periods = self.rows.rows.chunk_by(|a, b| a.as_of == b.as_of).count();
        for (period, same) in self.rows.rows.chunk_by(|a, b| a.as_of == b.as_of).enumerate() {
            let mut given = vec![None; first.len()];
            for row in from..from + same.len() {
                let member = numbers[self.rows.rows[row].member.as_str()];
                shop.see(member, self.context(row))?;
                let chances = self.chances(&mut mind, self.context(row));
                let arm = draw(&chances, rng.random());
                let now = period as u32;
                let worth = |arm| {
                    let expected = shop.expected(member, now, arm);
                    (expected.reward - expected.cost, expected.cost)
                };
                let ((value, cost), (best, _)) = (worth(arm), worth(shop.best(member, now, 1.0)));
                all.add([value, best - value, cost]);
                if 3 * period >= 2 * periods {
                    late.add([value, best - value, cost]);
                }
                let response = shop.respond(member, now, arm);
                if period > 0 {
                    purse.paid += response.cost;
                    purse.decisions += 1;
                }
                seen.take(self.context(row), (arm, chances[arm]), (response.reward, response.cost), member);
                given[member] = Some(arm);
            }
            from += same.len();
            for (member, arm) in given.into_iter().enumerate() {
                match arm {
                    Some(arm) => shop.give(member, arm),
                    None => shop.rest(member),
                }
            }
            let left = purse.next(periods - period - 1, same.len());
            mind = self.learned(player, mind, &seen, same.len(), left)?;
        }
        Ok(Played {
            player: player.name().into(),
            seed: self.seed,
            value: all.mean(0),
            regret: all.mean(1),
            late_regret: late.mean(1),
            cost: all.mean(2),
            late_cost: late.mean(2),
            paid: purse.paid / purse.decisions.max(1) as f64,
        })
    }

    /// The chance of each action.
    fn chances(&self, mind: &mut Mind, context: &[f32]) -> Vec<f64> {
        let arms = self.args.shop.arms.len();
        let only = |best: usize| (0..arms).map(|arm| if arm == best { 1.0 } else { 0.0 }).collect();
        let (own, explore): (Vec<f64>, f64) = match mind {
            Mind::Random => (vec![1.0 / arms as f64; arms], 0.0),
            Mind::Bandit(bandit) => (only(bandit.choose(context)), 0.0),
            Mind::Chances(net) => (softmax(&net.run(context)), self.args.explore),
            Mind::Values(net) => {
                let values = net.run(context);
                let best = (1..arms).fold(0, |best, arm| if values[arm] > values[best] { arm } else { best });
                (only(best), self.args.explore)
            }
        };
        own.into_iter().map(|p| p * (1.0 - explore) + explore / arms as f64).collect()
    }

    /// How the player decides after a period of so many decisions, and with so much left for each one to come.
    fn learned(
        &self,
        player: Player,
        mind: Mind,
        seen: &Seen,
        latest: usize,
        left: f64,
    ) -> anyhow::Result<Mind> {
        let arms = self.args.shop.arms.len();
        let how = Learning::default();
        let bandit = |optimism| {
            let mut bandit = match mind {
                Mind::Bandit(bandit) => *bandit,
                _ => Bandit::new(optimism, self.width, arms, self.seed),
            };
            for row in seen.actions.len() - latest..seen.actions.len() {
                let context = &seen.contexts[row * self.width..(row + 1) * self.width];
                let earned = (seen.rewards[row] - seen.costs[row]) / UNIT;
                bandit.observe(context, seen.actions[row] as usize, earned);
            }
            bandit.learn();
            Mind::Bandit(Box::new(bandit))
        };
        let rows = seen.decisions(self.width, arms);
        Ok(match player {
            Player::Random => Mind::Random,
            Player::LinUcb => bandit(Optimism::Ucb(1.0)),
            Player::Thompson => bandit(Optimism::Thompson(0.5)),
            Player::QLearning => Mind::Values(q_learning(&rows, &[], &how, self.seed)),
            Player::Reinforce(mean) => {
                let estimates = |outcomes: &[f64]| {
                    let rows = outcome::Rows {
                        width: self.width,
                        contexts: &seen.contexts,
                        actions: &seen.actions,
                        rewards: outcomes,
                        members: &seen.members,
                        arms,
                    };
                    outcome::estimates(&rows, FOLDS)
                };
                let latest: Vec<usize> = (seen.actions.len() - latest..seen.actions.len()).collect();
                let (rewards, costs) = (estimates(&seen.rewards)?, estimates(&seen.costs)?);
                // The outcome model knows no season: how far the latest period was from it is expected of the next.
                let expected: f64 =
                    latest.iter().map(|row| costs[row * arms + seen.actions[*row] as usize]).sum();
                let paid: f64 = latest.iter().map(|row| seen.costs[*row]).sum();
                let season = (paid / expected.max(f64::MIN_POSITIVE)).clamp(0.5, 2.0);
                let explore = self.args.explore;
                let budget = mean.map(|_| Budget { mean: left / season, explore, rows: &latest });
                Mind::Chances(reinforce(&rows, &rewards, &costs, budget, &how, self.seed))
            }
        })
    }
}

impl Seen {
    fn take(
        &mut self,
        context: &[f32],
        (arm, chance): (usize, f64),
        (reward, cost): (f64, f64),
        member: usize,
    ) {
        self.contexts.extend(context);
        self.actions.push(arm as u32);
        self.propensities.push(chance);
        self.rewards.push(reward);
        self.costs.push(cost);
        self.members.push(member as u64);
    }

    fn decisions(&self, width: usize, arms: usize) -> Decisions<'_> {
        Decisions {
            width,
            contexts: &self.contexts,
            arms,
            actions: &self.actions,
            rewards: &self.rewards,
            costs: &self.costs,
            propensities: &self.propensities,
            members: &self.members,
        }
    }
}

impl Player {
    fn budget(self) -> Option<f64> {
        match self {
            Self::Reinforce(budget) => budget,
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::LinUcb => "linucb",
            Self::Thompson => "thompson",
            Self::QLearning => "q-learning",
            Self::Reinforce(None) => "reinforce",
            Self::Reinforce(Some(_)) => "reinforce within budget",
        }
    }
}

/// Means over the shops, a line a player.
fn words(played: &[Played], budget: Option<f64>) -> String {
    let mut names: Vec<&str> = Vec::new();
    for one in played.iter().filter(|one| one.seed == 1) {
        names.push(&one.player);
    }
    let header = format!(
        "{:<24} {:>9} {:>9} {:>12} {:>9} {:>10} {:>9}",
        "", "value", "regret", "late regret", "cost", "late cost", "paid"
    );
    let mut lines = vec![header];
    for name in names {
        let of: Vec<&Played> = played.iter().filter(|one| one.player == name).collect();
        let mean = |pick: fn(&Played) -> f64| of.iter().map(|one| pick(one)).sum::<f64>() / of.len() as f64;
        lines.push(format!(
            "{name:<24} {:>9.4} {:>9.4} {:>12.4} {:>9.4} {:>10.4} {:>9.4}",
            mean(|one| one.value),
            mean(|one| one.regret),
            mean(|one| one.late_regret),
            mean(|one| one.cost),
            mean(|one| one.late_cost),
            mean(|one| one.paid)
        ));
    }
    lines.extend(budget.map(|budget| format!("the budget is {budget:.4} a decision after the first period")));
    lines.push("responses are simulated; nothing here says how this shop's members respond".into());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::fixtures::synthetic;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn whoever_learns_misses_less_than_chance_does() {
        let folder = tempfile::tempdir().unwrap();
        synthetic(folder.path(), 300);
        let project = folder.path().join("tiercast.toml");
        let words = ["x", "-p", project.to_str().unwrap(), "--periods", "8", "--arms", "0,50,400"];
        let more = ["--point-value", "0.02", "--budget", "0.3", "--seeds", "1"];
        let args = Cli::parse_from(words.into_iter().chain(more)).args;
        let played = play(&args).unwrap();
        let of = |name: &str| played.iter().find(|one| one.player == name).unwrap();
        let random = of("random").late_regret;
        for name in ["linucb", "thompson", "q-learning", "reinforce"] {
            assert!(of(name).late_regret < 0.6 * random, "{name}: {} {random}", of(name).late_regret);
        }
        // So few members say little of what a decision costs; the budget is kept where there are more.
        let within = of("reinforce within budget").late_cost;
        assert!(within < of("reinforce").late_cost && within < 0.6 * of("random").late_cost, "{within}");
        assert_eq!(played, play(&args).unwrap());
    }
}
