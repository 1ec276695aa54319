"""How a shop's size tells: ours beside DuckDB and onnxruntime, as `cargo xtask bench --scale` calls it.

    scale.py PROGRAM CONTESTANT FOLDER [--minutes N] [--only NAME] [--quick]

PROGRAM is `tiercast` as a release has it, CONTESTANT the engine alone (native.rs), FOLDER holds data between runs. Each
part takes the largest of its sizes that fits the time left, or is left out and said to be. A run at full size writes
scale.json and the tables of SCALE.md; a smaller one, and a quick one, only print.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
ONE = ["2024-10-01"]
SIX = ["2023-07-01", "2023-10-01", "2024-01-01", "2024-04-01", "2024-07-01", "2024-10-01"]
MEMORY = 1024  # MiB that every contestant may use for sorting and grouping
THREADS = 2
VISITS = "0.02"
EVENTS = 10.25  # that a member has by so many visits
DAY = 86_400_000


class Left(Exception):
    """There is no time for it."""


def run(*command, cwd=None, env=None):
    """Seconds, processor seconds and the most memory, in MiB, of a command, and what it said."""
    started = time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in command], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    out, err = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{out}{err}")
    return {
        "seconds": time.monotonic() - started,
        "cpu": usage.ru_utime + usage.ru_stime,
        "mib": usage.ru_maxrss / 1024,
        "said": out,
    }


def size(path):
    return sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())


class Bench:
    def __init__(self, args):
        self.program, self.contestant, self.folder = Path(args.program), Path(args.contestant), Path(args.folder)
        self.end = time.monotonic() + args.minutes * 60
        self.quick = args.quick
        self.full = not args.quick
        self.rounds = 1 if args.quick else 5

    def largest(self, sizes, each, what):
        """The most members that the time left lets, where a million events take about `each` seconds."""
        for members in sizes[-1:] if self.quick else sizes:
            seconds = members * EVENTS / 1e6 * each
            if not (self.folder / f"shop-{members}" / "done.json").exists():
                seconds += members / 100_000
            if self.quick or time.monotonic() + seconds < self.end:
                return members
            self.full = False
        raise Left(f"{what} of {members:,} members would take about {seconds:.0f} s")

    def shop(self, members):
        """A shop of so many members, made once; its folder and its events."""
        shop = self.folder / f"shop-{members}"
        done = shop / "done.json"
        if not done.exists():
            synth = ["data", "synth", "--members", members, "--visits", VISITS, "--by-month", "--out", shop, "--force"]
            made = run(self.program, *synth)
            import pyarrow.parquet as pq

            events = sum(pq.read_metadata(file).num_rows for file in (shop / "events").glob("*.parquet"))
            done.write_text(json.dumps({"events": events, "seconds": made["seconds"], "mib": made["mib"]}))
        project = (HERE / "scale.toml").read_text()
        (shop / "scale.toml").write_text(project)
        (shop / "six.toml").write_text(project.replace(json.dumps(ONE), json.dumps(SIX)))
        return shop, json.loads(done.read_text())

    def ours(self, shop, project="scale.toml", memory=MEMORY):
        out = shop / "ours.parquet"
        return run(self.program, "features", "-p", project, "-o", out, "--memory", memory, "--partitions", THREADS, cwd=shop)

    def duckdb(self, shop, dates):
        return run(sys.executable, HERE / "scale_duckdb.py", "run", shop, ",".join(dates), MEMORY, THREADS)

    def compare(self, sizes=(800_000, 200_000, 50_000)):
        """The subset that SQL can say, in turns with DuckDB, at one date and at six."""
        members = self.largest(sizes, 18, "the comparison with DuckDB")
        return [self.duel(members, dates, project) for dates, project in ((ONE, "scale.toml"), (SIX, "six.toml"))]

    def duel(self, members, dates, project):
        shop, made = self.shop(members)
        pairs = []
        order = [("ours", lambda: self.ours(shop, project)), ("duckdb", lambda: self.duckdb(shop, dates))]
        for _, work in order:
            work()  # whoever is first would read the files from the disk
        for at in range(self.rounds):
            pairs.append({name: work() for name, work in (order if at % 2 == 0 else order[::-1])})
        run(sys.executable, HERE / "scale_duckdb.py", "same", shop / "ours.parquet", shop / "duckdb.parquet")
        full = self.ours(shop, "tiercast.toml") if len(dates) > 1 else None
        middle = lambda name, what: statistics.median(pair[name][what] for pair in pairs)
        ratios = sorted(pair["duckdb"]["seconds"] / pair["ours"]["seconds"] for pair in pairs)
        return {
            "events": made["events"],
            "members": members,
            "dates": len(dates),
            "ours": {what: middle("ours", what) for what in ("seconds", "cpu", "mib")},
            "duckdb": {what: middle("duckdb", what) for what in ("seconds", "cpu", "mib")},
            "ratio": statistics.median(ratios),
            "spread": [ratios[0], ratios[-1]],
            "full": full and {what: full[what] for what in ("seconds", "cpu", "mib")},
        }

    def growth(self, sizes=(50_000, 200_000, 800_000, 5_000_000)):
        """Time and memory from half a million events on."""
        rows = []
        for members in sizes[:2] if self.quick else sizes:
            try:
                self.largest([members], 2, "features")
            except Left as left:
                rows.append({"members": members, "left": str(left)})
                continue
            shop, made = self.shop(members)
            times = [self.ours(shop) for _ in range(self.rounds if members < 1_000_000 else 1)]
            best = min(times, key=lambda one: one["seconds"])
            row = {what: best[what] for what in ("seconds", "cpu", "mib")}
            rows.append({"members": members, "events": made["events"], **row})
        return rows

    def bundle(self, shop):
        """A bundle that was trained on a small shop of the same kind."""
        small, _ = self.shop(4_000)
        bundle = small / "run/bundle.tcb"
        if not bundle.exists():
            text = (small / "tiercast.toml").read_text()
            head, rest = text.split("[sequence]", 1)
            models = '["same-tier", "linear", "logistic", "dnn", "boosting", "blend"]'
            tail = rest.split("[train]", 1)[1]
            lines = [f"models = {models}" if line.startswith("models = ") else line for line in tail.splitlines()]
            (small / "train.toml").write_text(head + "[train]" + "\n".join(lines) + "\n")
            run(self.program, "train", "-p", "train.toml", "-o", "run", cwd=small)
        return bundle

    def models(self):
        """Models alone, a batch of 1,024 rows at a time on one thread, in turns with onnxruntime."""
        import numpy as np
        import onnxruntime

        bundle = self.bundle(None)
        folder = self.folder / "models"
        folder.mkdir(exist_ok=True)
        found = []
        for name in ("dnn", "boosting", "blend"):
            onnx = bundle.parent / "models" / f"{name}.onnx"
            shutil.copy(onnx, folder / f"{name}.onnx")
            run(self.program, "import", "--engine", "plan", onnx, "-o", folder / f"{name}.tcb")
            session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
            width = session.get_inputs()[0].shape[1]
            rows = np.random.default_rng(7).standard_normal((1024, width)).astype(np.float32)
            rows.tofile(folder / f"{name}.rows")
            session.run(None, {session.get_inputs()[0].name: rows})[0].tofile(folder / f"{name}.expected")
            sides = {
                "ours": [self.contestant, "ours", folder, name],
                "onnxruntime": [sys.executable, HERE / "native.py", folder, name],
            }
            talk = {
                side: subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                for side, command in sides.items()
            }
            for process in talk.values():
                assert float(process.stdout.readline()) < 1e-4
            times = {side: [] for side in talk}
            for at in range(4 if self.quick else 40):
                for side in list(talk) if at % 2 else list(talk)[::-1]:
                    talk[side].stdin.write(f"1024 20 {at * 20}\n")
                    talk[side].stdin.flush()
                    times[side].append(int(talk[side].stdout.readline()) / 20 / 1024)
            for process in talk.values():
                process.stdin.close()
                process.wait()
            each = {side: statistics.median(values) for side, values in times.items()}
            ratios = sorted(b / a for a, b in zip(times["ours"], times["onnxruntime"]))
            quarter = len(ratios) // 4
            found.append(
                {
                    "model": name,
                    "rows_per_second": {side: 1e9 / ns for side, ns in each.items()},
                    "ratio": each["onnxruntime"] / each["ours"],
                    "spread": [ratios[quarter], ratios[-1 - quarter]],
                }
            )
        return found

    def whole(self, sizes=(10_000_000, 2_500_000, 800_000, 200_000, 20_000)):
        """Everything once: histories of all members, their scores, and a day of news."""
        members = self.largest(sizes, 2, "histories and scores")
        shop, made = self.shop(members)
        bundle = self.bundle(shop)
        store, scores = shop / "states", shop / "scores"
        for old in (store, scores):
            shutil.rmtree(old, ignore_errors=True)
        last = sorted((shop / "events").glob("2024-12-*.parquet"))
        aside = shop / "aside"
        aside.mkdir(exist_ok=True)
        for file in last:
            file.rename(aside / file.name)
        try:
            update = ["states", store, "-p", "tiercast.toml", "--memory", MEMORY]
            build = run(self.program, *update, cwd=shop)
        finally:
            for file in last:
                (aside / file.name).rename(file)
        news = run(self.program, *update, cwd=shop)
        score = run(self.program, "score", bundle, "--states", store, "-o", f"{scores}/", cwd=shop)
        row = lambda one: {what: one[what] for what in ("seconds", "cpu", "mib")}
        return {
            "members": members,
            "events": made["events"],
            "generate": {"seconds": made["seconds"], "mib": made["mib"]},
            "build": row(build),
            "news": row(news) | {"said": news["said"].strip()},
            "score": row(score) | {"said": score["said"].strip()},
            "disk": {"events": size(shop / "events"), "states": size(store), "scores": size(scores)},
        }


def git(*words):
    return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()


def about():
    import duckdb
    import onnxruntime

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "machine": f"{os.cpu_count()} × {platform.machine()}, {memory:.0f} GB, {platform.system().lower()}",
        "versions": {"DuckDB": duckdb.__version__, "onnxruntime": onnxruntime.__version__},
    }


def judged(measures):
    """The bars, and whether they are met."""
    bars = []
    add = lambda what, found, bar, met: bars.append({"what": what, "found": found, "bar": bar, "met": bool(met)})
    for compare in measures.get("compare", []):
        low, high = compare["spread"]
        dates = "one date" if compare["dates"] == 1 else f"{compare['dates']} dates"
        add(f"DuckDB's time / ours, the measures that SQL says, {dates}", f"{compare['ratio']:.2f} ({low:.2f}–{high:.2f})", "≥ 1", compare["ratio"] >= 1)
    rows = [row for row in measures.get("growth", []) if "left" not in row]
    if len(rows) >= 3:
        small, large = rows[0], rows[2]
        linear = large["seconds"] / small["seconds"] / (large["events"] / small["events"])
        add(f"time against linear, {small['events'] / 1e6:.1f} M to {large['events'] / 1e6:.1f} M events", f"{linear:.2f}", "≤ 1.15", linear <= 1.15)
    if len(rows) == 4:
        add(f"memory at {rows[3]['events'] / 1e6:.0f} M events", f"{rows[3]['mib']:,.0f} MiB", "≤ 2,048 MiB", rows[3]["mib"] <= 2048)
    for model in measures.get("models", []):
        low, high = model["spread"]
        add(f"rows/s against onnxruntime, {model['model']}", f"{model['ratio']:.2f} ({low:.2f}–{high:.2f})", "≥ 2", model["ratio"] >= 2)
    return bars


def markdown(ledger):
    about, measures = ledger["about"], ledger["measures"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    parts = ", ".join(f"{name} {at['date']} at commit {at['commit']}" for name, at in ledger["at"].items())
    lines = [f"Measured on {about['machine']}, with {versions}: {parts}.", ""]
    lines += ["| what | found | bar | |", "|---|---|---|---|"]
    lines += [f"| {bar['what']} | {bar['found']} | {bar['bar']} | {'met' if bar['met'] else 'missed'} |" for bar in judged(measures)]
    if compared := measures.get("compare"):
        lines += ["", f"**{compared[0]['events']:,} events of {compared[0]['members']:,} members**, both with {THREADS} threads and {MEMORY:,} MiB.", ""]
        lines += ["| | dates | wall | processor | peak memory | events/s |", "|---|---|---|---|---|---|"]
        named = [("ours, the subset", "ours"), ("DuckDB, the subset", "duckdb"), ("ours, all 171 features", "full")]
        for compare, name, key in ((compare, name, key) for compare in compared for name, key in named if compare[key]):
            one = compare[key]
            lines.append(f"| {name} | {compare['dates']} | {one['seconds']:.1f} s | {one['cpu']:.1f} s | {one['mib']:,.0f} MiB | {compare['events'] / one['seconds']:,.0f} |")
    if growth := measures.get("growth"):
        lines += ["", "| events | members | wall | processor | peak memory | events/s |", "|---|---|---|---|---|---|"]
        for row in growth:
            if "left" in row:
                lines.append(f"| | {row['members']:,} | {row['left']} | | | |")
            else:
                lines.append(
                    f"| {row['events']:,} | {row['members']:,} | {row['seconds']:.1f} s | {row['cpu']:.1f} s | {row['mib']:,.0f} MiB | {row['events'] / row['seconds']:,.0f} |"
                )
    if models := measures.get("models"):
        lines += ["", "| model, 1,024 rows at a time, one thread | ours, rows/s | onnxruntime, rows/s | ratio |", "|---|---|---|---|"]
        for model in models:
            ours, peer = (model["rows_per_second"][side] for side in ("ours", "onnxruntime"))
            lines.append(f"| {model['model']} | {ours:,.0f} | {peer:,.0f} | {model['ratio']:.2f} |")
    if whole := measures.get("whole"):
        disk = whole["disk"]
        lines += ["", f"**{whole['members']:,} members, {whole['events']:,} events**, {MEMORY:,} MiB for reading.", ""]
        lines += ["| step | wall | processor | peak memory | on disk |", "|---|---|---|---|---|"]
        lines.append(f"| generate | {whole['generate']['seconds']:.0f} s | | {whole['generate']['mib']:,.0f} MiB | {disk['events'] / 2**20:,.0f} MiB |")
        steps = [("histories of 23 months", "build", ""), ("the 24th month added", "news", disk["states"]), ("scores", "score", disk["scores"])]
        for name, key, bytes_ in steps:
            one = whole[key]
            room = f"{bytes_ / 2**20:,.0f} MiB" if bytes_ else ""
            lines.append(f"| {name} | {one['seconds']:.0f} s | {one['cpu']:.0f} s | {one['mib']:,.0f} MiB | {room} |")
    return "\n".join(lines) + "\n"


def place(text):
    path = HERE / "SCALE.md"
    head, rest = path.read_text().split("<!-- bench:begin -->\n")
    tail = rest.split("<!-- bench:end -->")[1]
    path.write_text(f"{head}<!-- bench:begin -->\n{text}<!-- bench:end -->{tail}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("contestant")
    parser.add_argument("folder")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", action="append")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    bench = Bench(args)
    bench.folder.mkdir(parents=True, exist_ok=True)
    ledger_path = HERE / "scale.json"
    old = json.loads(ledger_path.read_text()) if ledger_path.exists() and args.only else {"measures": {}, "at": {}}
    measures, at, left = old["measures"], old["at"], []
    today = {"date": datetime.date.today().isoformat(), "commit": git("describe", "--always", "--dirty", "--abbrev=7", "--exclude=*")}

    for name in ("compare", "growth", "models", "whole"):
        if args.only and name not in args.only:
            continue
        print(f"bench: {name}", file=sys.stderr, flush=True)
        try:
            measures[name] = getattr(bench, name)()
            at[name] = today
        except Left as reason:
            left.append(str(reason))
    ledger = {"about": about(), "at": at, "measures": measures}
    text = markdown(ledger)
    print(text, *(f"Left out for want of time: {reason}.\n" for reason in left), sep="\n", end="")
    if bench.full:
        ledger_path.write_text(json.dumps(ledger, indent=1) + "\n")
        place(text)
    else:
        print("Not at full size: scale.json and SCALE.md stay as they were.", file=sys.stderr)


main()
