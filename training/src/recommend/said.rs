//! What the shop's tables say of items in words: identifiers, names, categories, brands.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use datafusion::{
    arrow::{
        array::{Array, AsArray, StringArray},
        compute::cast,
        datatypes::DataType,
    },
    prelude::SessionContext,
};
use futures::StreamExt;
use tiercast_core::name_hash;

use crate::{
    project::{ItemTable, Project},
    table::{self, Events, Place},
};

/// What is said of an item; empty texts are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) category: String,
    pub(super) group: String,
    pub(super) brand: String,
}

/// Looks up what is said of some items, by their hashes.
///
/// # Errors
/// When a table cannot be read or an expression does not fit it.
pub(super) async fn look_up(
    events: &Events,
    project: &Project,
    items: Option<&ItemTable>,
    wanted: &HashSet<u32>,
) -> anyhow::Result<HashMap<u32, Said>> {
    let mut found = HashMap::new();
    let context = &events.context;
    context.register_table("bought", events.frame().await?.into_view())?;
    let sql = "SELECT CAST(\"item\" AS VARCHAR), max(CAST(\"category\" AS VARCHAR)) FROM \"bought\" \
               WHERE \"item\" IS NOT NULL GROUP BY \"item\"";
    rows(context, sql, 2, |row| {
        let hash = name_hash(row[0]);
        if wanted.contains(&hash) {
            let said = Said { id: row[0].into(), category: row[1].into(), ..Said::default() };
            found.insert(hash, said);
        }
    })
    .await?;
    let Some(items) = items else { return Ok(found) };
    let place = Place::beside(&project.folder, &items.table);
    table::register(context, "said_of_items", &place).await?;
    let given = [Some(&items.item), items.name.as_ref(), items.category.as_ref(), items.group.as_ref()];
    let text = |sql: Option<&String>| sql.map_or("''".into(), |sql| format!("CAST({sql} AS VARCHAR)"));
    let given = given.into_iter().chain([items.brand.as_ref()]);
    // Names of their own, since an expression may stand twice.
    let columns: Vec<String> =
        given.enumerate().map(|(at, sql)| format!("{} AS \"c{at}\"", text(sql))).collect();
    let sql = format!("SELECT {} FROM \"said_of_items\"", columns.join(", "));
    let take = |row: &[&str]| {
        let Some(said) = found.get_mut(&name_hash(row[0])) else { return };
        let places = [&mut said.name, &mut said.category, &mut said.group, &mut said.brand];
        for (place, text) in places.into_iter().zip(&row[1..]).filter(|(_, text)| !text.is_empty()) {
            *place = (*text).into();
        }
    };
    rows(context, &sql, 5, take)
        .await
        .with_context(|| format!("[recommend.items]: an expression does not fit {}", items.table))?;
    Ok(found)
}

/// Rows of texts; what is NULL is empty.
async fn rows(
    context: &SessionContext,
    sql: &str,
    width: usize,
    mut take: impl FnMut(&[&str]),
) -> anyhow::Result<()> {
    let mut stream = context.sql(sql).await.map_err(|e| table::plain(&e))?.execute_stream().await?;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let columns = batch.columns().iter().map(|column| cast(column, &DataType::Utf8));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let columns: Vec<&StringArray> = columns.iter().map(AsArray::as_string).collect();
        let mut row = vec![""; width];
        for at in 0..batch.num_rows() {
            row.iter_mut()
                .zip(&columns)
                .for_each(|(text, column)| *text = if column.is_null(at) { "" } else { column.value(at) });
            take(&row);
        }
    }
    Ok(())
}
