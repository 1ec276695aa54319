use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

/// Two kinds of members; action 1 pays for one kind and costs, action 2 pays for the other.
struct World {
    contexts: Vec<f32>,
    actions: Vec<u32>,
    rewards: Vec<f64>,
    costs: Vec<f64>,
    propensities: Vec<f64>,
    members: Vec<u64>,
}

const PAYS: [[f64; 3]; 2] = [[1.0, 3.0, 0.5], [1.0, 0.0, 2.0]];
const COSTS: [f64; 3] = [0.0, 0.5, 0.25];

fn world(rows: usize, seed: u64) -> World {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World {
        contexts: Vec::new(),
        actions: Vec::new(),
        rewards: Vec::new(),
        costs: Vec::new(),
        propensities: Vec::new(),
        members: Vec::new(),
    };
    for row in 0..rows {
        let kind = usize::from(rng.random_bool(0.5));
        // The log prefers action 0.
        let action = [0, 0, 1, 2][rng.random_range(0..4)];
        world.contexts.extend([kind as f32 * 2.0 - 1.0, rng.random_range(-1.0..1.0)]);
        world.actions.push(action as u32);
        world.rewards.push(PAYS[kind][action] + rng.random_range(-1.0..1.0));
        world.costs.push(COSTS[action]);
        world.propensities.push(if action == 0 { 0.5 } else { 0.25 });
        world.members.push(row as u64 / 3);
    }
    world
}

impl World {
    fn rows(&self) -> Decisions<'_> {
        Decisions {
            width: 2,
            contexts: &self.contexts,
            arms: 3,
            actions: &self.actions,
            rewards: &self.rewards,
            costs: &self.costs,
            propensities: &self.propensities,
            members: &self.members,
        }
    }

    fn costs(&self) -> Vec<f64> {
        COSTS.repeat(self.actions.len())
    }
}

#[test]
fn q_learning_finds_the_values() {
    let world = world(4000, 1);
    let net = q_learning(&world.rows(), &[], &Learning::default(), 3);
    for (kind, x) in [(0, [-1.0, 0.2]), (1, [1.0, -0.4])] {
        for (arm, value) in net.run(&x).into_iter().enumerate() {
            let expected = PAYS[kind][arm] - COSTS[arm];
            assert!((value - expected).abs() < 0.15, "{kind} {arm}: {value} {expected}");
        }
    }
}

#[test]
fn the_next_decision_counts_as_much_as_it_is_discounted() {
    // Each member has two rows; the second always earns 4, whatever is done, so the first is worth 4 · discount more.
    let rows = 2000;
    let contexts: Vec<f32> = (0..rows).map(|row| (row % 2) as f32).collect();
    let actions: Vec<u32> = (0..rows).map(|row| (row / 2 % 2) as u32).collect();
    let rewards: Vec<f64> = (0..rows).map(|row| if row % 2 == 1 { 4.0 } else { 1.0 }).collect();
    let next: Vec<Option<usize>> = (0..rows).map(|row| (row % 2 == 0).then_some(row + 1)).collect();
    let members: Vec<u64> = (0..rows as u64).map(|row| row / 2).collect();
    let decisions = Decisions {
        width: 1,
        contexts: &contexts,
        arms: 2,
        actions: &actions,
        rewards: &rewards,
        costs: &vec![0.0; rows],
        propensities: &vec![0.5; rows],
        members: &members,
    };
    let how = Learning { discount: 0.5, epochs: 400, l2: 0.0, ..Learning::default() };
    let net = q_learning(&decisions, &next, &how, 3);
    let gap = net.run(&[0.0])[0] - net.run(&[1.0])[0];
    // 1 + 0.5 · 4 at first against 4 at the end of the line.
    assert!((gap - (3.0 - 4.0)).abs() < 0.1, "{gap}");
}

#[test]
fn reinforce_finds_the_best_action_of_each_kind() {
    let world = world(4000, 1);
    // Without an outcome model the rewards alone must do.
    let nothing = vec![0.0; 3 * 4000];
    let net = reinforce(&world.rows(), &nothing, &world.costs(), None, &Learning::default(), 3);
    for (best, x) in [(1, [-1.0, 0.2]), (2, [1.0, -0.4])] {
        let chances = softmax(&net.run(&x));
        assert!(chances[best] > 0.8, "{x:?}: {chances:?}");
    }
}

#[test]
fn the_budget_is_kept() {
    let world = world(4000, 1);
    let nothing = vec![0.0; 3 * 4000];
    for mean in [0.05, 0.2] {
        let all: Vec<usize> = (0..4000).collect();
        let budget = Budget { mean, explore: 0.05, rows: &all };
        let net = reinforce(&world.rows(), &nothing, &world.costs(), Some(budget), &Learning::default(), 3);
        let chance = |p: f64| p * 0.95 + 0.05 / 3.0;
        let cost = |row: usize| {
            let chances = softmax(&net.run(world.rows().context(row)));
            chances.into_iter().zip(COSTS).map(|(p, cost)| chance(p) * cost).sum::<f64>()
        };
        let spent = (0..4000).map(cost).sum::<f64>() / 4000.0;
        assert!(spent <= mean * 1.001 && spent > mean * 0.9, "{spent} of {mean}");
    }
}

#[test]
fn the_same_rows_and_seed_give_the_same_policy() {
    let world = world(600, 1);
    let nothing = vec![0.0; 3 * 600];
    let how = Learning { hidden: 8, epochs: 20, ..Learning::default() };
    let once = || reinforce(&world.rows(), &nothing, &world.costs(), None, &how, 3);
    assert_eq!(once(), once());
    assert_eq!(q_learning(&world.rows(), &[], &how, 3), q_learning(&world.rows(), &[], &how, 3));
}
