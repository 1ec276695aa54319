//! A policy against what was logged after it was learned.
//!
//! Invariant: what is judged is what is handed over: chances come from the plan that goes into the bundle, through core's rules.

use std::collections::BTreeMap;

use tiercast_core::{Action, LowerOptions, Policy, Task, lower};

use super::rows::Part;
use crate::{
    models::policy::{
        ope::{self, Evaluation, Logged, Options, Target},
        outcome::Fitted,
    },
    policy::record::{ActionRecord, Truth},
};

/// The chances that the policy gives to each row's actions, as core decides.
pub(super) fn chances(policy: &Policy, task: Task, onnx: &[u8], part: &Part) -> anyhow::Result<Vec<f64>> {
    let plan = lower(onnx, &LowerOptions::default())?;
    let mut scores = Vec::new();
    plan.run_rows(&mut plan.workspace(1024), &part.contexts, &mut scores)?;
    decided(policy, task, &scores, part)
}

fn decided(policy: &Policy, task: Task, scores: &[f32], part: &Part) -> anyhow::Result<Vec<f64>> {
    let mut all = Vec::with_capacity(scores.len());
    for (scores, promised) in scores.chunks(part.arms()).zip(&part.promised) {
        let allowed = policy.allowed(*promised, 0);
        let current = (task == Task::Assign).then(|| usize::from(promised.saturating_sub(1)));
        all.extend(policy.chances(scores, &allowed, current)?.into_iter().map(f64::from));
    }
    Ok(all)
}

/// What policies are held against.
pub(super) struct Judge<'p> {
    test: &'p Part,
    /// What each action is expected to earn after its cost, and to cost, by a model of the rows that were learned from.
    earned: Vec<f64>,
    costs: Vec<f64>,
    /// What the test's rows earned after their cost.
    logged: Vec<f64>,
    /// The action that earned most in the rows that were learned from.
    best: usize,
}

impl<'p> Judge<'p> {
    pub(super) fn new(train: &Part, test: &'p Part) -> anyhow::Result<Self> {
        let apply =
            |outcomes: &[f64]| Fitted::fit(&train.outcome(outcomes))?.apply(&test.contexts, test.log.len());
        Ok(Self {
            earned: apply(&train.log.earned())?,
            costs: apply(&train.costs)?,
            logged: test.log.earned(),
            best: train.log.best_arm(),
            test,
        })
    }

    /// The test's rows with other outcomes.
    fn of<'a>(&'a self, outcomes: &'a [f64]) -> Logged<'a> {
        Logged {
            actions: &self.test.log.actions,
            rewards: outcomes,
            propensities: &self.test.log.propensities,
            members: &self.test.log.members,
        }
    }

    pub(super) fn evaluate(&self, chances: &[f64], seed: u64) -> anyhow::Result<Evaluation> {
        let target = Target { arms: self.test.arms(), probabilities: chances, estimates: &self.earned };
        ope::evaluate(&self.of(&self.logged), &target, &Options { seed, ..Options::default() })
    }

    /// The mean cost of a decision, by the same estimator.
    pub(super) fn cost(&self, chances: &[f64], seed: u64) -> anyhow::Result<ope::Estimate> {
        let target = Target { arms: self.test.arms(), probabilities: chances, estimates: &self.costs };
        let found =
            ope::evaluate(&self.of(&self.test.costs), &target, &Options { seed, ..Options::default() })?;
        Ok(*found.judged())
    }

    /// What a policy's decisions would truly have brought, cost, and what the log's own and the best ones would have brought,
    /// where a simulator said so.
    pub(super) fn truth(&self, chances: &[f64]) -> Option<Truth> {
        let (truth, arms) = (self.test.truth.as_ref()?, self.test.arms());
        let rows = self.test.log.len() as f64;
        let of = |pick: fn(&[f64; 2]) -> f64| {
            chances.iter().zip(truth).map(|(p, both)| p * pick(both)).sum::<f64>() / rows
        };
        let net = |[reward, cost]: &[f64; 2]| reward - cost;
        let best: f64 = truth.chunks(arms).map(|row| row.iter().map(net).fold(f64::MIN, f64::max)).sum();
        let logged: f64 = self
            .test
            .log
            .actions
            .iter()
            .zip(truth.chunks(arms))
            .map(|(at, row)| net(&row[*at as usize]))
            .sum();
        Some(Truth {
            value: of(|[reward, cost]| reward - cost),
            cost: of(|[_, cost]| *cost),
            incumbent: logged / rows,
            best: best / rows,
        })
    }

    /// Policies that anybody would try first.
    pub(super) fn simple(&self, policy: &Policy, task: Task) -> anyhow::Result<Vec<(String, Vec<f64>)>> {
        let (rows, arms) = (self.test.log.len(), self.test.arms());
        let plain = Policy { learned: None, ..policy.clone() };
        let of = |scores: Vec<f32>| decided(&plain, task, &scores, self.test);
        let mut always = vec![0.0; rows * arms];
        always.iter_mut().skip(self.best).step_by(arms).for_each(|chance| *chance = 1.0);
        let highest = |row: &[f64]| {
            let best = (0..arms).rev().max_by(|a, b| row[*a].total_cmp(&row[*b]));
            (0..arms).map(|arm| if Some(arm) == best { 1.0 } else { 0.0 }).collect::<Vec<f32>>()
        };
        let greedy = self.earned.chunks(arms).flat_map(highest).collect();
        Ok(vec![
            ("uniform".into(), of(vec![1.0 / arms as f32; rows * arms])?),
            (format!("always {}", self.test.log.arms[self.best]), of(always)?),
            ("greedy, by expected earnings".into(), of(greedy)?),
        ])
    }

    /// The policy's actions with how often they are taken, and how often the log took them.
    pub(super) fn actions(&self, policy: &Policy, chances: &[f64]) -> Vec<ActionRecord> {
        let (rows, arms) = (self.test.log.len() as f64, self.test.arms());
        let mut logged = BTreeMap::<u32, usize>::new();
        self.test.log.actions.iter().for_each(|action| *logged.entry(*action).or_default() += 1);
        let action = |(at, action): (usize, &Action)| ActionRecord {
            name: action.name.clone(),
            points: action.points,
            share: chances.iter().skip(at).step_by(arms).sum::<f64>() / rows,
            logged: logged.get(&(at as u32)).map_or(0.0, |count| *count as f64 / rows),
        };
        policy.actions.iter().enumerate().map(action).collect()
    }
}
