//! Arithmetic on constant integers, exact in 64 bits: what exported models do with shapes.
//!
//! Only single numbers and lists; [`BATCH`] passes through where its meaning is clear. Whatever else a model computes
//! with constant integers goes the way of all constants.

use alloc::{vec, vec::Vec};

use super::{
    graph,
    node::Node,
    value::{BATCH, Kind, Value},
};
use crate::error::Result;

/// The outputs of a node whose inputs are all constant integers; `None` when it is not such a node.
pub(super) fn evaluate(node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Option<Vec<Value>>> {
    let given: Option<Vec<&Value>> = inputs.iter().map(Option::as_ref).collect();
    let Some(values) = given.filter(|values| !values.is_empty() && node.domain().is_empty()) else {
        return Ok(None);
    };
    let lists: Option<Vec<&[i64]>> = values.iter().map(|v| v.integers().filter(|_| v.rank() <= 1)).collect();
    let Some(lists) = lists else { return Ok(None) };
    let found = match (node.operator(), &*lists) {
        ("Identity", [x]) => like(values[0], x.to_vec()),
        ("Cast", [x]) => match graph::kind(node.int("to", 1) as i32, "a cast") {
            Ok(Kind::Int) => like(values[0], x.to_vec()),
            _ => return Ok(None),
        },
        ("Gather", [x, at]) if values[0].rank() == 1 => {
            let pick = |i: &i64| x.get(index(*i, x.len())?).copied();
            match at.iter().map(pick).collect() {
                Some(picked) => like(values[1], picked),
                None => return Err(node.invalid("an index is out of range")),
            }
        }
        ("Concat", _) if values.iter().all(|v| v.rank() == 1) => list(lists.concat()),
        ("Slice", [x, starts, ends, rest @ ..])
            if starts.len() == 1
                && ![starts, ends].iter().any(|at| at.contains(&BATCH))
                && values[0].rank() == 1 =>
        {
            let step = rest.get(1).and_then(|steps| steps.first()).copied().unwrap_or(1);
            match (starts.first(), ends.first(), step) {
                (Some(start), Some(end), 1) => {
                    let place = |i: i64| {
                        (if i < 0 { i.saturating_add(x.len() as i64) } else { i }).clamp(0, x.len() as i64)
                    };
                    list(x.get(place(*start) as usize..place(*end) as usize).unwrap_or_default().to_vec())
                }
                _ => return Ok(None),
            }
        }
        ("Unsqueeze", [x] | [x, _]) if values[0].rank() == 0 => list(x.to_vec()),
        ("Squeeze", [x] | [x, _]) if x.len() == 1 => Value::ints(Vec::new(), x.to_vec()),
        ("Reshape", [x, [1 | -1]]) if x.len() == 1 => list(x.to_vec()),
        ("Neg", [x]) if !x.contains(&BATCH) => like(values[0], x.iter().map(|x| -x).collect()),
        ("Range", [[start], [limit], [step]]) if *step != 0 => return range(node, *start, *limit, *step),
        ("Where", [condition, a, b]) => {
            let len = if lists.iter().any(|x| x.is_empty()) {
                0
            } else {
                condition.len().max(a.len()).max(b.len())
            };
            if lists.iter().any(|x| x.len() != len && x.len() != 1) {
                return Ok(None);
            }
            let chosen =
                |i: usize| if condition[i % condition.len()] != 0 { a[i % a.len()] } else { b[i % b.len()] };
            let data = (0..len).map(chosen).collect();
            if values.iter().all(|v| v.rank() == 0) { Value::ints(Vec::new(), data) } else { list(data) }
        }
        (operator, [a, b]) => return arithmetic(node, operator, [values[0], values[1]], [a, b]),
        _ => return Ok(None),
    };
    Ok(Some(vec![found]))
}

fn list(data: Vec<i64>) -> Value {
    Value::ints(vec![data.len()], data)
}

/// Data in the shape of another value.
fn like(value: &Value, data: Vec<i64>) -> Value {
    Value::ints(value.shape.clone(), data)
}

fn index(i: i64, len: usize) -> Option<usize> {
    usize::try_from(if i < 0 { i + len as i64 } else { i }).ok()
}

fn range(node: &Node<'_>, start: i64, limit: i64, step: i64) -> Result<Option<Vec<Value>>> {
    const MOST: i64 = 1 << 20;
    let span = i128::from(limit) - i128::from(start);
    let count = (span / i128::from(step) + i128::from(span % i128::from(step) != 0)).max(0) as i64;
    if [start, limit, step].contains(&BATCH) || !(0..=MOST).contains(&count) {
        return Err(node.refuse("its length depends on the batch, or is unreasonable"));
    }
    Ok(Some(vec![list((0..count).map(|i| start.wrapping_add(i.wrapping_mul(step))).collect())]))
}

/// Elements side by side; a single one is repeated.
fn zipped(a: &[i64], b: &[i64]) -> Option<Vec<(i64, i64)>> {
    let len = a.len().max(b.len());
    if [a, b].iter().any(|x| x.len() != len && x.len() != 1) {
        return None;
    }
    Some((0..len).map(|i| (a[i % a.len()], b[i % b.len()])).collect())
}

fn arithmetic(
    node: &Node<'_>,
    operator: &str,
    values: [&Value; 2],
    [a, b]: [&[i64]; 2],
) -> Result<Option<Vec<Value>>> {
    let combine: fn(i64, i64) -> Option<i64> = match operator {
        "Add" => |a, b| {
            if b == 0 {
                Some(a)
            } else if a == 0 {
                Some(b)
            } else {
                known(a, b)?.0.checked_add(b)
            }
        },
        "Sub" => |a, b| if b == 0 { Some(a) } else { known(a, b)?.0.checked_sub(b) },
        "Mul" => |a, b| {
            if b == 1 {
                Some(a)
            } else if a == 1 {
                Some(b)
            } else {
                known(a, b)?.0.checked_mul(b)
            }
        },
        "Div" => |a, b| if b == 1 { Some(a) } else { known(a, b)?.0.checked_div(b) },
        "Min" => |a, b| known(a, b).map(|(a, b)| a.min(b)),
        "Max" => |a, b| known(a, b).map(|(a, b)| a.max(b)),
        // No length is negative: the batch equals none of the numbers that mean something else.
        "Equal" => |a, b| {
            let clear = known(a, b).is_some() || a == b || a.max(b) < 0;
            clear.then_some(i64::from(a == b))
        },
        _ => return Ok(None),
    };
    let Some(pairs) = zipped(a, b) else { return Ok(None) };
    // A number that comes out as the mark of the batch without one going in is out of range.
    let sound = |a: i64, b: i64, x: i64| x != BATCH || a == BATCH || b == BATCH;
    let combined = |(a, b): &(i64, i64)| combine(*a, *b).filter(|x| sound(*a, *b, *x));
    let Some(data) = pairs.iter().map(combined).collect::<Option<Vec<_>>>() else {
        return Err(node.refuse("it computes with the length of the batch, or out of the range of integers"));
    };
    let shape = if values[0].rank() >= values[1].rank() && values[0].len() >= values[1].len() {
        values[0]
    } else {
        values[1]
    };
    let kind = if operator == "Equal" { Kind::Bool } else { Kind::Int };
    Ok(Some(vec![Value { kind, ..like(shape, data) }]))
}

/// Both numbers, unless one is the length of the batch.
fn known(a: i64, b: i64) -> Option<(i64, i64)> {
    (a != BATCH && b != BATCH).then_some((a, b))
}
