"""Asks the Open Bandit Pipeline (obp) what logged decisions say of a policy.

    python ope.py                        writes ope.json beside this file: small made logs with obp's estimates, which
                                         training/models/src/policy/ope/tests.rs compares to 1e-9
    python ope.py --open-bandit FOLDER   prints obp's estimates of the Thompson sampler on the real random logs, and writes
                                         FOLDER/random-CAMPAIGN.csv, the logs with the sampler's probability of each logged
                                         item, for `tiercast policy evaluate --weight probability`

It is run by hand, in an environment of its own (requirements-ope.txt): obp brings PyTorch along. The made logs are ours,
by the generator below, and committed; the real ones are not.

obp 0.4.1 does not clip weights. What stands for it in ope.json is put together from obp's own inverse propensities and
direct method: the logged actions' probabilities are cut to at most LAMBDA times their propensities.
"""

import json
import pathlib
import sys

import numpy
import obp.ope
import obp.policy
from obp.dataset import OpenBanditDataset

TAU, LAMBDA, POSITIONS = 1.5, 2.0, 3


class Numbers:
    """Knuth's linear congruential generator, the upper 32 bits."""

    def __init__(self, seed):
        self.state = seed

    def below(self, most):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 32) % most


def shares(counts):
    """Whole numbers as probabilities: one division each, so that every program has the same bits."""
    return counts / counts.sum(axis=-1, keepdims=True)


def make(name, seed, rows, arms, positions, sure):
    """A log whose reward depends on context, arm and luck; `sure` policies take one arm."""
    numbers = Numbers(seed)
    case = {"name": name, "arms": arms, "tau": TAU, "lambda": LAMBDA, "rows": []}
    for _ in range(rows):
        logged = [1 + numbers.below(9) for _ in range(arms)]
        draw = numbers.below(sum(logged))
        action = next(arm for arm in range(arms) if draw < sum(logged[: arm + 1]))
        wanted = [[0 if sure else numbers.below(9) for _ in range(arms)] for _ in range(positions)]
        for slice_ in wanted:
            slice_[numbers.below(arms)] += 1
        estimates = [[numbers.below(65) / 64 for _ in range(arms)] for _ in range(positions)]
        reward = numbers.below(3) / 2 + (numbers.below(4) / 4 if action == 0 else 0)
        row = {"action": action, "logged": logged, "reward": reward, "position": numbers.below(positions)}
        case["rows"].append(row | {"wanted": wanted, "estimates": estimates})
    return case


def arrays(case):
    """obp's arguments: policies and estimates are rows x arms x positions."""
    rows = case["rows"]
    action = numpy.array([row["action"] for row in rows])
    logged = shares(numpy.array([row["logged"] for row in rows], dtype=float))
    wanted = shares(numpy.array([row["wanted"] for row in rows], dtype=float))
    return {
        "reward": numpy.array([row["reward"] for row in rows], dtype=float),
        "action": action,
        "pscore": logged[numpy.arange(len(rows)), action],
        "position": numpy.array([row["position"] for row in rows]),
        "action_dist": wanted.transpose(0, 2, 1),
        "estimated_rewards_by_reg_model": numpy.array([row["estimates"] for row in rows]).transpose(0, 2, 1),
    }


def clipped(asked):
    """The policy's probabilities of the logged actions, cut where they weigh too much.

    The next action gets what is cut off, since obp wants a distribution; inverse propensities do not look at it.
    """
    cut = asked["action_dist"].copy()
    rows = numpy.arange(len(asked["action"]))
    at = (rows, asked["action"], asked["position"])
    kept = numpy.minimum(cut[at], LAMBDA * asked["pscore"])
    cut[rows, (asked["action"] + 1) % cut.shape[1], asked["position"]] += cut[at] - kept
    cut[at] = kept
    return asked | {"action_dist": cut}


def estimate(asked):
    ips, direct = obp.ope.InverseProbabilityWeighting(), obp.ope.DirectMethod()
    at = (numpy.arange(len(asked["action"])), asked["action"], asked["position"])
    errors = asked["reward"] - asked["estimated_rewards_by_reg_model"][at]
    cut = clipped(asked)
    value = {
        "ips": ips.estimate_policy_value(**asked),
        "snips": obp.ope.SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**asked),
        "dm": direct.estimate_policy_value(**asked),
        "dr": obp.ope.DoublyRobust().estimate_policy_value(**asked),
        "sndr": obp.ope.SelfNormalizedDoublyRobust().estimate_policy_value(**asked),
        "switchDr": obp.ope.SwitchDoublyRobust(tau=TAU).estimate_policy_value(**asked),
        "clippedIps": ips.estimate_policy_value(**cut),
        "clippedDr": direct.estimate_policy_value(**asked) + ips.estimate_policy_value(**cut | {"reward": errors}),
    }
    return {name: float(value) for name, value in value.items()}


def finish(case):
    """Keeps of each row what its position needs."""
    expected = estimate(arrays(case))
    for row in case["rows"]:
        position = row.pop("position")
        row["wanted"], row["estimates"] = row["wanted"][position], row["estimates"][position]
    return case | {"expected": expected}


def write(path):
    cases = [
        make("no positions", 1, 120, 5, 1, sure=False),
        make("three positions", 2, 90, 4, POSITIONS, sure=False),
        make("a policy that is sure", 3, 80, 3, 1, sure=True),
    ]
    lines = []
    for case in map(finish, cases):
        rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in case.pop("rows"))
        lines.append(json.dumps(case, separators=(",", ":"))[:-1] + ',"rows":[\n' + rows + "\n]}")
    path.write_text("[" + ",\n".join(lines) + "]\n")


class Log(OpenBanditDataset):
    """The real log without its contexts, which obp 0.4.1 cannot read with today's pandas and nothing here needs."""

    def pre_process(self):
        self.context = self.action_context = numpy.zeros((len(self.action), 1))


def open_bandit(folder, campaign):
    """The sampler's distribution is obp's own, of 100,000 draws from the seed."""
    data = Log(behavior_policy="random", campaign=campaign, data_path=folder)
    live = Log(behavior_policy="bts", campaign=campaign, data_path=folder)
    log = data.obtain_batch_bandit_feedback()
    sampler = obp.policy.BernoulliTS(
        n_actions=data.n_actions, len_list=data.len_list, is_zozotown_prior=True, campaign=campaign, random_state=12345
    )
    rows = numpy.arange(log["n_rounds"])
    policy = sampler.compute_batch_action_dist(n_sim=100_000, n_rounds=log["n_rounds"])
    chances = policy[rows, log["action"], log["position"]]
    # The simplest outcome model: an item's clicks among all of the log, plus one of a hundred at the log's mean.
    clicks = numpy.bincount(log["action"], log["reward"], data.n_actions)
    shown = numpy.bincount(log["action"], minlength=data.n_actions)
    means = (clicks + 100 * log["reward"].mean()) / (shown + 100)
    asked = {
        **{name: log[name] for name in ["reward", "action", "pscore", "position"]},
        "action_dist": policy,
        "estimated_rewards_by_reg_model": numpy.tile(means[None, :, None], (log["n_rounds"], 1, data.len_list)),
    }
    print(json.dumps({"campaign": campaign, "live": float(live.reward.mean()), **estimate(asked)}))
    table = data.data[["timestamp", "item_id", "position", "click", "propensity_score"]].copy()
    table["probability"] = chances
    table.to_csv(folder / f"random-{campaign}.csv", index=False)


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            write(pathlib.Path(__file__).with_name("ope.json"))
        case ["--open-bandit", folder]:
            for campaign in ["all", "men", "women"]:
                open_bandit(pathlib.Path(folder), campaign)
        case _:
            sys.exit(__doc__)
