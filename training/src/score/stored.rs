//! Scores of stored histories: a part for each bucket, buckets side by side.

use std::sync::{Arc, Mutex};

use anyhow::{Context, bail, ensure};
use datafusion::arrow::{
    array::{RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use indicatif::ProgressBar;
use tiercast_core::{MemberState, Timestamp};

use super::{
    Args, Done,
    assess::{Form, Scores},
    identity,
    output::table,
    parts::Folder,
};
use crate::{cores, fold::Skipped, states::Store};

/// Scores the members of a store.
pub(super) fn score(args: &Args, bundle: Vec<u8>, store: &Store, bar: &ProgressBar) -> anyhow::Result<Done> {
    if !args.is_folder() {
        bail!("scores of --states are a folder of parts; name one with a slash at its end, as in -o scores/");
    }
    let as_of = match &args.as_of {
        Some(text) => Timestamp::parse(text)?,
        None => store.last()?,
    };
    let cut = format!("{} buckets, news {}", store.buckets(), args.news);
    let identity = identity(args, &bundle, as_of, store.identity(), &cut);
    let scores = args.scores(bundle, as_of, Form::Columns)?;
    store.check(scores.schema())?;
    let folder = Folder::open(&args.output, identity, args.restart)?;
    let before = folder.rows();
    if folder.is_complete() {
        return Ok(Done { members: before, before, as_of, skipped: Skipped::new() });
    }
    bar.set_message("members scored");
    let open: Vec<u32> = (0..store.buckets()).filter(|bucket| !folder.has(*bucket)).collect();
    let folder = Mutex::new(folder);
    let held = || folder.lock().map_err(|_| anyhow::anyhow!("a worker stopped"));
    let members = cores::each(open, |bucket| {
        let rows = rows(&scores, store, bucket, args.news, as_of)?;
        let Some(rows) = rows else { return Ok(0) };
        let mut part = held()?.part(bucket, &rows)?;
        part.write(&rows)?;
        let done = part.close()?;
        held()?.add(done)?;
        bar.inc(rows.num_rows() as u64);
        Ok(rows.num_rows() as u64)
    })?;
    let members = before + members.iter().sum::<u64>();
    ensure!(members > 0 || args.news, "no member has an event up to {as_of}");
    held()?.complete()?;
    Ok(Done { members, before, as_of, skipped: Skipped::new() })
}

/// A bucket's members and their assessments; none for a bucket without members.
fn rows(
    scores: &Scores,
    store: &Store,
    bucket: u32,
    only_news: bool,
    as_of: Timestamp,
) -> anyhow::Result<Option<RecordBatch>> {
    let (mut members, mut states) = (Vec::new(), Vec::new());
    for (member, history) in store.read(bucket, only_news)? {
        let state = MemberState::restore(&history.state, scores.schema())
            .with_context(|| format!("the history of member {member}"))?;
        // Whoever came later is not a member yet.
        if !state.knows(as_of) || state.events().next().is_some_and(|first| first.time <= as_of) {
            members.push(member);
            states.push(state);
        }
    }
    if members.is_empty() {
        return Ok(None);
    }
    let made = scores.of_states(&members, &states)?;
    let schema = Schema::new(vec![
        Field::new("member", DataType::Utf8, false),
        Field::new("made", made.data_type().clone(), false),
    ]);
    let columns = vec![Arc::new(StringArray::from(members)) as _, made];
    Ok(Some(table(&RecordBatch::try_new(Arc::new(schema), columns)?)?))
}
