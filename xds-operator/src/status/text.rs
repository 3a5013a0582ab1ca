//! How is a status shown to people? As two tables; pure.

use std::io::{self, Write};

use super::{Counts, Status};

/// Writes it. `now` is the reader's time, by which ages are told.
///
/// # Errors
/// The writer fails.
pub fn write(status: &Status, now: jiff::Timestamp, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "revision {}, {}", status.revision, status.time)?;
    if status.is_cut {
        writeln!(
            out,
            "some connections are not counted: there are more routes and VMs than are kept account of"
        )?;
    }
    writeln!(out)?;
    let mut rows = vec![head(&["GATEWAY", "REVISION", "VMS"])];
    for gateway in &status.gateways {
        let name = if gateway.connected {
            gateway.gateway.clone()
        } else {
            format!("{} (away)", gateway.gateway)
        };
        let vms = if gateway.vms == gateway.vms_counted {
            gateway.vms.to_string()
        } else {
            format!("{} of {}", gateway.vms_counted, gateway.vms)
        };
        let first = vec![name, gateway.revision.to_string(), vms];
        rows.push(row(first, &gateway.counts, now));
    }
    if status.gateways.is_empty() {
        writeln!(out, "no gateway is connected")?;
    } else {
        columns(&rows, out)?;
    }
    writeln!(out)?;
    if status.routes.is_empty() {
        writeln!(out, "there is no route")?;
    } else {
        let mut rows = vec![head(&["ROUTE", "TARGET", "ENDPOINTS"])];
        for route in &status.routes {
            let target = route.target.as_deref();
            let first = vec![
                route.route.clone(),
                target.unwrap_or("(deleted)").to_owned(),
                target.map_or_else(|| "-".to_owned(), |_| route.endpoints_ready.to_string()),
            ];
            rows.push(row(first, &route.counts, now));
        }
        columns(&rows, out)?;
    }
    if let Some(last) = &status.last_unrouted {
        writeln!(
            out,
            "\nlast Logon without a route: {} {}, {}",
            last.decision,
            last.reason,
            age(&last.time, now)
        )?;
    }
    Ok(())
}

fn head(first: &[&str]) -> Vec<String> {
    let counts = [
        "ACTIVE",
        "OLD TARGET",
        "HELD",
        "CONNECTING",
        "ORPHANED",
        "LAST LOGON",
        "LAST DECISION",
    ];
    let all = first.iter().chain(&counts);
    all.map(|word| (*word).to_owned()).collect()
}

fn row(mut cells: Vec<String>, counts: &Counts, now: jiff::Timestamp) -> Vec<String> {
    let Counts {
        active,
        on_old_target,
        held,
        connecting,
        orphaned,
        last_logon,
        last_decision,
    } = counts;
    let numbers = [active, on_old_target, held, connecting, orphaned];
    cells.extend(numbers.map(ToString::to_string));
    let none = || "-".to_owned();
    cells.push(last_logon.as_ref().map_or_else(none, |time| age(time, now)));
    cells.push(last_decision.as_ref().map_or_else(none, |last| {
        format!(
            "{} {}, {}",
            last.decision,
            last.reason,
            age(&last.time, now)
        )
    }));
    cells
}

/// `3 s ago`
fn age(time: &str, now: jiff::Timestamp) -> String {
    let Ok(time) = time.parse::<jiff::Timestamp>() else {
        return time.to_owned();
    };
    let seconds = now.as_second().saturating_sub(time.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// Cells below each other, two blanks between.
fn columns(rows: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let padded: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        writeln!(out, "{}", padded.join("  ").trim_end())?;
    }
    Ok(())
}
