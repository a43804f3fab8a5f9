//! The access logger in the routers of a bootstrap's own listeners.

use serde_json::Value;

use super::access::{absent, find, list, within};
use super::{Problem, parts};

/// Adds the logger to every router of the static listeners; says to how many, counting those
/// that have it already.
pub(super) fn add(root: &mut Value) -> Result<usize, Vec<Problem>> {
    let mut routers = 0;
    if absent(root, &["static_resources", "listeners"]) {
        return Ok(routers);
    }
    let listeners = list(root, &["static_resources", "listeners"])?;
    for (number, listener) in listeners.iter_mut().enumerate() {
        visit(listener, &format!("static_resources.listeners[{number}]"), &mut routers)?;
    }
    Ok(routers)
}

/// Looks for routers at any depth: in filter chains, the default one, and filters around filters.
fn visit(value: &mut Value, at: &str, routers: &mut usize) -> Result<(), Vec<Problem>> {
    if parts::is_router(value) {
        *routers += 1;
        return add_to(value, at);
    }
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                visit(field, &format!("{at}.{key}"), routers)?;
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter_mut().enumerate() {
                visit(item, &format!("{at}[{number}]"), routers)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Ok(())
}

fn add_to(router: &mut Value, at: &str) -> Result<(), Vec<Problem>> {
    let log = parts::upstream_log();
    let logs = list(router, &["upstream_log"]).map_err(within(at))?;
    // Loggers share the extension's name, so it is the log's own name that tells them apart.
    let ours = logs.iter().find(|there| {
        let name = find(there, &["typed_config", "common_config", "log_name"]);
        name.and_then(Value::as_str) == Some(parts::LOG_NAME)
    });
    match ours {
        None => {
            logs.push(log);
            Ok(())
        }
        Some(there) if *there == log => Ok(()),
        Some(_) => {
            let what = format!("a log named {:?} is there already, and differs", parts::LOG_NAME);
            let mend = "rename it, or take it out: weir's own log goes by this name";
            Err(vec![Problem::new(&format!("{at}.upstream_log"), what, mend)])
        }
    }
}
