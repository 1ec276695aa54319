//! The file of events: columns that are filled a row group at a time.

use std::{fs::File, net::Ipv4Addr, path::Path, sync::Arc};

use datafusion::{
    arrow::{
        array::{
            ArrayRef, Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMillisecondBuilder,
        },
        datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    },
    parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties},
};

use super::{catalogue, member::Happening, member_name, whence::Whence};
use crate::whole::Whole;

/// A file of events being written.
pub(super) struct Table {
    writer: ArrowWriter<File>,
    whole: Whole,
    schema: SchemaRef,
    rows: Rows,
    group: usize,
    total: u64,
}

impl Table {
    pub(super) fn create(path: &Path, group: usize, origins: bool) -> anyhow::Result<Self> {
        let (whole, file) = Whole::create(path)?;
        let schema = schema(origins);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(group))
            .build();
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
        let rows = Rows { origins: origins.then(Origins::default), ..Rows::default() };
        Ok(Self { writer, whole, schema, rows, group, total: 0 })
    }

    pub(super) fn push(&mut self, number: u64, index: usize, happening: &Happening) -> anyhow::Result<()> {
        self.rows.push(number, index, happening);
        if self.rows.len == self.group { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> anyhow::Result<()> {
        self.total += self.rows.len as u64;
        Ok(self.writer.write(&self.rows.finish(&self.schema)?)?)
    }

    pub(super) fn close(mut self) -> anyhow::Result<u64> {
        self.write()?;
        self.writer.close()?;
        self.whole.appear()?;
        Ok(self.total)
    }
}

fn schema(origins: bool) -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let mut fields = vec![
        Field::new("member", DataType::Utf8, false),
        Field::new("id", DataType::Utf8, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("time", time, false),
        Field::new("amount", DataType::Float64, true),
        Field::new("discount", DataType::Float64, true),
        Field::new("quantity", DataType::Int64, true),
        Field::new("item", DataType::Utf8, true),
        Field::new("category", DataType::Utf8, true),
        Field::new("channel", DataType::Utf8, false),
        Field::new("order", DataType::Utf8, true),
    ];
    if origins {
        let texts = ["device", "card", "address", "ip"].map(|name| Field::new(name, DataType::Utf8, true));
        let degrees = ["latitude", "longitude"].map(|name| Field::new(name, DataType::Float64, true));
        fields.extend(texts.into_iter().chain(degrees));
        fields.push(Field::new("device_members", DataType::Int64, true));
    }
    Arc::new(Schema::new(fields))
}

/// Columns being filled.
#[derive(Default)]
struct Rows {
    len: usize,
    texts: [StringBuilder; 7],
    time: TimestampMillisecondBuilder,
    amount: Float64Builder,
    discount: Float64Builder,
    quantity: Int64Builder,
    origins: Option<Origins>,
}

/// Columns of where events came from.
#[derive(Default)]
struct Origins {
    texts: [StringBuilder; 4],
    degrees: [Float64Builder; 2],
    members: Int64Builder,
}

impl Origins {
    fn push(&mut self, whence: Option<Whence>) {
        let [device, card, address, ip] = &mut self.texts;
        let name = |letter: char, id: u64| format!("{letter}{id:016x}");
        device.append_option(whence.map(|whence| name('d', whence.device)));
        card.append_option(whence.and_then(|whence| whence.card).map(|card| name('c', card)));
        address.append_option(whence.and_then(|whence| whence.address).map(|address| name('a', address)));
        ip.append_option(whence.map(|whence| Ipv4Addr::from(whence.ip).to_string()));
        let [latitude, longitude] = &mut self.degrees;
        latitude.append_option(whence.map(|whence| whence.place.0));
        longitude.append_option(whence.map(|whence| whence.place.1));
        self.members.append_option(whence.map(|whence| i64::from(whence.device_members)));
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        let texts = self.texts.each_mut().map(|text| -> ArrayRef { Arc::new(text.finish()) });
        let degrees = self.degrees.each_mut().map(|degrees| -> ArrayRef { Arc::new(degrees.finish()) });
        let members: ArrayRef = Arc::new(self.members.finish());
        texts.into_iter().chain(degrees).chain([members]).collect()
    }
}

impl Rows {
    fn push(&mut self, number: u64, index: usize, happening: &Happening) {
        let [member, id, kind, item, category, channel, order] = &mut self.texts;
        let name = member_name(number);
        let major = |cents: i64| cents as f64 / 100.0;
        id.append_value(format!("{name}-{index}"));
        kind.append_value(happening.kind);
        item.append_option(happening.item.map(|item| format!("{}-{:03}", item.category, item.rank)));
        category.append_option(happening.item.map(|item| catalogue::CATEGORIES[item.category].name));
        channel.append_value(happening.channel);
        order.append_option(happening.order.map(|order| format!("{name}-o{order}")));
        member.append_value(name);
        self.time.append_value(happening.time);
        self.amount.append_option(happening.paid.map(|paid| major(paid.amount)));
        self.discount.append_option(happening.paid.map(|paid| major(paid.discount)));
        self.quantity.append_option(happening.paid.map(|paid| paid.quantity));
        if let Some(origins) = &mut self.origins {
            origins.push(happening.whence);
        }
        self.len += 1;
    }

    fn finish(&mut self, schema: &SchemaRef) -> anyhow::Result<RecordBatch> {
        self.len = 0;
        let [member, id, kind, item, category, channel, order] =
            self.texts.each_mut().map(|text| -> ArrayRef { Arc::new(text.finish()) });
        let time = Arc::new(self.time.finish().with_timezone("UTC"));
        let (amount, discount) = (Arc::new(self.amount.finish()), Arc::new(self.discount.finish()));
        let quantity = Arc::new(self.quantity.finish());
        let mut columns: Vec<ArrayRef> =
            vec![member, id, kind, time, amount, discount, quantity, item, category, channel, order];
        columns.extend(self.origins.iter_mut().flat_map(Origins::finish));
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}
