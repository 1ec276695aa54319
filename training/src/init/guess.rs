//! Which column means what, by its name and type.

use datafusion::arrow::datatypes::DataType;

/// Words that a column's name has when it holds a field, the most telling first.
const WORDS: [(&str, &[&str]); 10] = [
    (
        "member",
        &[
            "member",
            "household",
            "customer",
            "user",
            "client",
            "shopper",
            "loyalty",
            "account",
            "card",
            "visitor",
        ],
    ),
    ("time", &["timestamp", "datetime", "time", "date", "created", "purchased", "ordered", "day"]),
    ("order", &["basket", "order", "invoice", "receipt", "transaction", "ticket", "session"]),
    ("item", &["product", "item", "sku", "article", "stockcode", "asin", "ean", "upc"]),
    ("category", &["category", "department", "class", "group", "family", "genre"]),
    ("channel", &["channel", "store", "shop", "site", "branch", "source", "platform", "device", "outlet"]),
    (
        "amount",
        &[
            "amount",
            "sales_value",
            "sales",
            "revenue",
            "total",
            "paid",
            "spend",
            "dollars",
            "value",
            "price",
            "net",
            "gross",
        ],
    ),
    ("discount", &["discount", "disc", "rebate", "markdown"]),
    ("quantity", &["quantity", "qty", "units", "count", "cds", "pieces"]),
    ("kind", &["kind", "event", "event_type", "action", "type", "activity"]),
];

/// A column of a table.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) data_type: DataType,
}

/// The expression for times that are numbers but no milliseconds, and what they are, by the newest of them.
pub(super) fn clock(column: &str, newest: i64) -> Option<(String, &'static str)> {
    match newest {
        19_900_101..=21_991_231 => Some((format!("CAST(CAST({column} AS VARCHAR) AS DATE)"), "yyyymmdd")),
        631_152_000..=7_258_118_399 => Some((format!("{column} * 1000"), "seconds since 1970")),
        _ => None,
    }
}

/// How well a name fits a field; nothing if it does not. Higher is better.
fn fit(field: &str, column: &Column) -> Option<usize> {
    let (_, words) = WORDS.iter().find(|(known, _)| *known == field)?;
    let name = parts(&column.name);
    let place = words.iter().position(|word| mentions(&name, word))?;
    let identifier =
        matches!(field, "member" | "order" | "item") && (name.ends_with("id") || name.ends_with("code"));
    let exact = name == words[place] || name == format!("{}_id", words[place]);
    type_fits(field, column).then(|| 100 - 4 * place + 20 * usize::from(exact) + 10 * usize::from(identifier))
}

/// A name in lower case, its parts joined by underscores: `InvoiceDate` is `invoice_date`.
fn parts(name: &str) -> String {
    let mut joined = String::new();
    let mut lower_before = false;
    for c in name.chars() {
        if c.is_uppercase() && lower_before {
            joined.push('_');
        }
        lower_before = c.is_lowercase();
        joined.extend(c.to_lowercase());
    }
    joined
}

/// Whether a word stands in a name, at the start of one of its parts.
fn mentions(name: &str, word: &str) -> bool {
    name.match_indices(word).any(|(at, _)| at == 0 || !name.as_bytes()[at - 1].is_ascii_alphanumeric())
        || (word.len() >= 5 && name.replace('_', "").contains(word))
}

fn type_fits(field: &str, column: &Column) -> bool {
    let found = &column.data_type;
    let text = matches!(found, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let moment = ["date", "time", "timestamp", "_at"].iter().any(|end| parts(&column.name).ends_with(end));
    if moment && field != "time" {
        return false;
    }
    let dictionary = matches!(found, DataType::Dictionary(..));
    match field {
        "time" => text || found.is_temporal() || matches!(found, DataType::Int64 | DataType::UInt64),
        "amount" | "discount" | "quantity" => found.is_numeric(),
        "kind" => text || dictionary,
        "member" | "order" | "item" => !found.is_floating() && !found.is_temporal(),
        _ => !found.is_temporal(),
    }
}

/// The column that most likely holds a field.
pub(super) fn column<'c>(field: &str, columns: &'c [Column]) -> Option<&'c Column> {
    let scored = columns.iter().filter_map(|column| Some((fit(field, column)?, column)));
    // The first of equals: tables put their main columns first.
    scored.rev().max_by_key(|(score, _)| *score).map(|(_, column)| column)
}

/// All columns that hold a field, for those that are summed.
pub(super) fn all<'c>(field: &str, columns: &'c [Column]) -> Vec<&'c Column> {
    columns.iter().filter(|column| fit(field, column).is_some()).collect()
}

/// The kind of event that a shop's word most likely means.
pub(super) fn kind(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    // The first that fits: "review" holds "view", and "add_to_basket" is not an order.
    let known = [
        ("return", &["return", "refund", "credit"][..]),
        ("review", &["review", "rating"]),
        ("cart", &["cart", "basket", "add"]),
        ("purchase", &["purchase", "buy", "order", "sale", "transaction", "checkout", "paid"]),
        ("view", &["view", "click", "impression", "detail", "browse"]),
        ("search", &["search", "query"]),
        ("login", &["login", "signin", "sign_in"]),
        ("session", &["session", "visit"]),
        ("coupon", &["coupon", "redeem", "voucher"]),
    ];
    known.into_iter().find(|(_, words)| words.iter().any(|known| word.contains(known))).map(|(kind, _)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(named: &[(&str, DataType)]) -> Vec<Column> {
        let column = |(name, data_type): &(&str, DataType)| Column {
            name: (*name).into(),
            data_type: data_type.clone(),
        };
        named.iter().map(column).collect()
    }

    #[test]
    fn a_grocery_line_is_understood() {
        let columns = columns(&[
            ("household_id", DataType::Int64),
            ("store_id", DataType::Int64),
            ("basket_id", DataType::Int64),
            ("product_id", DataType::Int64),
            ("quantity", DataType::Int64),
            ("sales_value", DataType::Float64),
            ("retail_disc", DataType::Float64),
            ("week", DataType::Int64),
            ("transaction_timestamp", DataType::Date64),
        ]);
        for (field, expected) in [
            ("member", Some("household_id")),
            ("time", Some("transaction_timestamp")),
            ("order", Some("basket_id")),
            ("item", Some("product_id")),
            ("amount", Some("sales_value")),
            ("quantity", Some("quantity")),
            ("channel", Some("store_id")),
            ("discount", Some("retail_disc")),
            ("kind", None),
            ("category", None),
        ] {
            assert_eq!(column(field, &columns).map(|column| column.name.as_str()), expected, "{field}");
        }
    }

    #[test]
    fn an_online_shop_is_understood() {
        let columns = columns(&[
            ("InvoiceNo", DataType::Utf8),
            ("StockCode", DataType::Utf8),
            ("Quantity", DataType::Int64),
            ("InvoiceDate", DataType::Utf8),
            ("UnitPrice", DataType::Float64),
            ("CustomerID", DataType::Int64),
            ("order_date", DataType::Utf8),
        ]);
        let found = |field| column(field, &columns).map(|column| column.name.as_str());
        assert_eq!(found("member"), Some("CustomerID"));
        assert_eq!(found("time"), Some("InvoiceDate"));
        assert_eq!(found("item"), Some("StockCode"));
        assert_eq!(found("order"), Some("InvoiceNo"));
        assert_eq!(found("amount"), Some("UnitPrice"));
    }

    #[test]
    fn words_of_shops_are_kinds() {
        for (word, expected) in [
            ("refunded", Some("return")),
            ("page_view", Some("view")),
            ("review", Some("review")),
            ("stamp", None),
        ] {
            assert_eq!(kind(word), expected, "{word}");
        }
    }
}
