//! An answer for people.

use std::io::{self, Write};

use super::answer::{Answer, RouteAnswer, Verdict};

/// FIXSessions that are named where several are left out.
const LEFT_OUT_SHOWN_MAX: usize = 5;

/// Writes it: what becomes of the Logon, the route that takes it, those that it comes before, and near misses.
pub(super) fn write(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    if let Some(received) = &answer.received {
        writeln!(out, "the Logon  {received}")?;
    }
    match &answer.source {
        Some(source) => writeln!(out, "from       {source}")?,
        None if answer.has_ranges() => writeln!(
            out,
            "from       not given (--source), so no route with sourceRanges matches"
        )?,
        None => {}
    }
    headline(answer, out)?;
    let of = |verdict: Verdict| {
        let routes = answer.routes.iter();
        routes.filter(move |route| route.verdict == verdict)
    };
    for route in of(Verdict::Chosen)
        .chain(of(Verdict::Tied))
        .chain(of(Verdict::Disputed))
    {
        conditions(route, true, out)?;
    }
    if let Some(unanswered) = &answer.unanswered {
        writeln!(out, "but        nobody answers there: {unanswered}")?;
    }
    section(
        "would take it, but is in a conflict (`fixgw check` tells which): a gateway that runs keeps what it accepted last",
        of(Verdict::LeftOut),
        true,
        out,
    )?;
    section("it comes before", of(Verdict::Outranked), false, out)?;
    section("misses, the nearest first", of(Verdict::Misses), true, out)?;
    left_out(answer, out)?;
    for unread in &answer.unread {
        writeln!(
            out,
            "not read, and may hold a route that takes it: {unread}"
        )?;
    }
    if answer.is_logon() && answer.routes.is_empty() && answer.routes_not_told == 0 {
        writeln!(out, "there is no route at all")?;
    }
    match answer.routes_not_told {
        0 => Ok(()),
        _ if !answer.is_logon() => Ok(()),
        1 => writeln!(out, "1 more route; --all tells of it"),
        more => writeln!(out, "{more} more routes; --all tells of them"),
    }
}

/// FIXSessions that no gateway would take as they are written, but for those that were told of.
fn left_out(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let told = |name: &&String| {
        let of_it =
            |route: &RouteAnswer| route.verdict == Verdict::LeftOut && route.route == **name;
        !answer.routes.iter().any(of_it)
    };
    let names: Vec<&String> = answer.left_out.iter().filter(told).collect();
    if names.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = names
        .iter()
        .take(LEFT_OUT_SHOWN_MAX)
        .map(|name| format!("FIXSession {name}"))
        .collect();
    let more = names.len() - shown.len();
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    writeln!(
        out,
        "left out, because invalid or in conflict: {}{more}; `fixgw check` says why",
        shown.join(", ")
    )
}

fn headline(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let Answer {
        decision, reason, ..
    } = answer;
    let detail = answer.detail.as_deref().unwrap_or_default();
    match answer.routes.first() {
        Some(route) if route.verdict == Verdict::Chosen => writeln!(
            out,
            "decision   FIXSession {} takes it, to {} ({decision}, {reason})",
            route.route, route.target
        ),
        Some(route) if route.verdict == Verdict::Tied => writeln!(
            out,
            "decision   the address decides between FIXSession {} and others; say it with --source",
            route.route
        ),
        Some(route) if route.verdict == Verdict::Disputed => writeln!(
            out,
            "decision   it is refused ({reason}): {detail}\n           as the gateway reads it, FIXSession {} would take it",
            route.route
        ),
        _ if !answer.is_logon() => {
            writeln!(out, "decision   this is no Logon ({reason}): {detail}")
        }
        _ if detail.is_empty() => writeln!(
            out,
            "decision   no route takes it ({reason}): it goes to the reject engine, or is closed where there is none"
        ),
        _ => writeln!(out, "decision   it is refused ({reason}): {detail}"),
    }
}

fn section<'a>(
    title: &str,
    routes: impl Iterator<Item = &'a RouteAnswer>,
    all_conditions: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut routes = routes.peekable();
    if routes.peek().is_some() {
        writeln!(out, "{title}")?;
    }
    for route in routes {
        write!(out, "  FIXSession {}", route.route)?;
        match &route.standing {
            Some(standing) => writeln!(out, ": {standing}")?,
            None => writeln!(out)?,
        }
        if all_conditions {
            conditions(route, false, out)?;
        }
    }
    Ok(())
}

/// Where it stands, and its conditions: those that do not hold first.
fn conditions(route: &RouteAnswer, chosen: bool, out: &mut dyn Write) -> io::Result<()> {
    let indent = if chosen { "           " } else { "    " };
    let place = route.place.as_deref().unwrap_or_default();
    writeln!(out, "{indent}{place} ({})", route.rank)?;
    let fields = route.fields.iter().map(|field| (field.holds, &field.says));
    let source = route
        .source
        .iter()
        .map(|source| (source.holds, &source.says));
    let mut all: Vec<(bool, &String)> = fields.chain(source).collect();
    all.sort_by_key(|(holds, _)| *holds);
    for (holds, says) in all {
        let mark = if holds { "+" } else { "-" };
        writeln!(out, "{indent}{mark} {says}")?;
    }
    Ok(())
}
