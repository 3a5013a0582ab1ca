//! Which paths does a Rust source file name?
//!
//! Reads tokens, not types: it knows what a file writes down (`use crate::xds::{self, server}`, `tokio::spawn`), not what a glob import
//! brings in. That is what rules about arrows are about. Code under `#[cfg(test)]` is left out: tests may do what the code must not.

use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::files;

/// What one source file names.
#[derive(Debug, Default)]
pub struct Named {
    /// Paths with two or more segments, `crate`, `self` and `super` resolved to `crate::…`: `crate::xds::server`, `std::fs::read`.
    pub paths: Vec<String>,
    /// Methods called: `.name(`.
    pub methods: Vec<String>,
}

/// Reads one source file. `module` is the path of its module, without `crate`: empty for `lib.rs`.
///
/// # Panics
/// When the file is not Rust.
#[must_use]
pub fn of_text(text: &str, module: &[&str]) -> Named {
    let tokens: TokenStream = text.parse().expect("a source file holds Rust tokens");
    let mut named = Named::default();
    Walk {
        module: module.iter().map(|&segment| segment.to_owned()).collect(),
        named: &mut named,
    }
    .stream(tokens);
    named.paths.sort();
    named.paths.dedup();
    named
}

/// Reads one source file of the crate whose sources lie in `sources`.
#[must_use]
pub fn of_file(file: &Path, sources: &str) -> Named {
    let module = module(file, sources);
    let module: Vec<&str> = module.iter().map(String::as_str).collect();
    of_text(&files::text(file).expect("a source file is text"), &module)
}

/// The module that a source file is: `xds-operator/src/xds/mod.rs` is `["xds"]`.
#[must_use]
pub fn module(file: &Path, sources: &str) -> Vec<String> {
    let inside = file
        .strip_prefix(sources)
        .expect("the file lies among the sources")
        .with_extension("");
    let mut module: Vec<String> = inside
        .iter()
        .map(|segment| segment.to_str().expect("file names are UTF-8").to_owned())
        .collect();
    if module.last().is_some_and(|last| last == "mod")
        || module.len() == 1 && matches!(module[0].as_str(), "lib" | "main")
    {
        module.pop();
    }
    module
}

struct Walk<'a> {
    module: Vec<String>,
    named: &'a mut Named,
}

impl Walk<'_> {
    fn stream(&mut self, stream: TokenStream) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            if is_test_only(&tokens, at) {
                at = after_item(&tokens, at + 2);
                continue;
            }
            at = match &tokens[at] {
                TokenTree::Group(group) => {
                    self.stream(group.stream());
                    at + 1
                }
                TokenTree::Ident(ident) if ident == "mod" => self.inline_module(&tokens, at),
                TokenTree::Ident(ident) if is_keyword(&ident.to_string()) => at + 1,
                TokenTree::Ident(_) => self.path(&tokens, at, &[]),
                TokenTree::Punct(_) | TokenTree::Literal(_) => at + 1,
            };
        }
    }

    /// `mod name { … }`: what is inside is one module deeper.
    fn inline_module(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
            (tokens.get(at + 1), tokens.get(at + 2))
        {
            self.module.push(name.to_string());
            self.stream(body.stream());
            self.module.pop();
            return at + 3;
        }
        at + 1
    }

    /// Reads the path that begins with the identifier at `at`, after `prefix`; says where reading goes on.
    fn path(&mut self, tokens: &[TokenTree], at: usize, prefix: &[String]) -> usize {
        let continues = prefix.is_empty()
            && is_path_separator(tokens, at.wrapping_sub(2))
            && !is_root(tokens, at);
        let mut segments = prefix.to_vec();
        let mut next = at;
        loop {
            match tokens.get(next) {
                Some(TokenTree::Ident(ident)) => {
                    segments.push(ident.to_string());
                    next += 1;
                }
                Some(TokenTree::Group(group))
                    if group.delimiter() == Delimiter::Brace && segments.len() > prefix.len() =>
                {
                    self.branches(group.stream(), &segments);
                    return next + 1;
                }
                _ => break,
            }
            if !is_path_separator(tokens, next) {
                break;
            }
            next += 2;
        }
        let is_call = matches!(tokens.get(next), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
        let is_method =
            at > 0 && matches!(&tokens[at - 1], TokenTree::Punct(point) if point.as_char() == '.');
        if is_method && is_call {
            self.named.methods.push(segments.join("::"));
        }
        if segments.len() > 1 && !continues && !is_method {
            self.say(&segments);
        }
        next
    }

    /// `{self, a, b::c}` of a `use`.
    fn branches(&mut self, stream: TokenStream, prefix: &[String]) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        for branch in
            tokens.split(|token| matches!(token, TokenTree::Punct(comma) if comma.as_char() == ','))
        {
            match branch.first() {
                Some(TokenTree::Ident(ident)) if ident == "self" => self.say(prefix),
                Some(TokenTree::Ident(_)) => {
                    self.path(branch, 0, prefix);
                }
                Some(TokenTree::Punct(_)) => self.say(prefix),
                _ => {}
            }
        }
    }

    fn say(&mut self, segments: &[String]) {
        let mut base = self.module.clone();
        let mut rest = segments;
        let mut relative = false;
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" => base.clear(),
                "self" => {}
                "super" => {
                    base.pop();
                }
                _ => break,
            }
            relative = true;
            rest = after;
        }
        let whole: Vec<&str> = if relative {
            std::iter::once("crate")
                .chain(base.iter().map(String::as_str))
                .chain(rest.iter().map(String::as_str))
                .collect()
        } else {
            rest.iter().map(String::as_str).collect()
        };
        self.named.paths.push(whole.join("::"));
    }
}

/// Words that a path from the root (`::tokio::spawn`) may follow.
fn is_keyword(ident: &str) -> bool {
    matches!(
        ident,
        "as" | "dyn" | "else" | "for" | "impl" | "in" | "mut" | "return" | "use"
    )
}

fn is_path_separator(tokens: &[TokenTree], at: usize) -> bool {
    let is_colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(colon)) if colon.as_char() == ':');
    is_colon(at) && is_colon(at.wrapping_add(1))
}

/// Whether the `::` before `at` begins a path (`::tokio::spawn`) rather than going on with one (`Vec::<u8>::new`).
fn is_root(tokens: &[TokenTree], at: usize) -> bool {
    match at.checked_sub(3).and_then(|before| tokens.get(before)) {
        Some(TokenTree::Punct(punct)) => punct.as_char() != '>',
        Some(TokenTree::Ident(ident)) => is_keyword(&ident.to_string()),
        Some(TokenTree::Group(_) | TokenTree::Literal(_)) => false,
        None => true,
    }
}

/// `#[cfg(test)]` and its like.
fn is_test_only(tokens: &[TokenTree], at: usize) -> bool {
    let (Some(TokenTree::Punct(hash)), Some(TokenTree::Group(attribute))) =
        (tokens.get(at), tokens.get(at + 1))
    else {
        return false;
    };
    let condition = attribute.stream().to_string().replace(' ', "");
    hash.as_char() == '#'
        && condition.starts_with("cfg(")
        && condition.contains("test")
        && !condition.contains("not(test")
}

/// Where the item that begins at `at` (its attributes first) ends.
fn after_item(tokens: &[TokenTree], mut at: usize) -> usize {
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Punct(semicolon) if semicolon.as_char() == ';' => return at + 1,
            TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => return at + 1,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(of_text(text, &["xds", "session"]).paths, expected, "{text}");
    }

    #[test]
    fn reads_use_trees() {
        check(
            "use crate::{a, b::{self, c}, d::*};",
            &["crate::a", "crate::b", "crate::b::c", "crate::d"],
        );
        check(
            "use super::rollout; use self::inner::X;",
            &["crate::xds::rollout", "crate::xds::session::inner::X"],
        );
        check(
            "pub(crate) use std::{collections::BTreeMap as Map, fs};",
            &["std::collections::BTreeMap", "std::fs"],
        );
        check("use ::tokio::spawn;", &["tokio::spawn"]);
        check("fn f() { ::std::fs::read(1) }", &["std::fs::read"]);
    }

    #[test]
    fn reads_expressions_types_and_macros() {
        check(
            "fn f(x: tokio::net::TcpStream) { std::fs::read(crate::a::B) }",
            &["crate::a::B", "std::fs::read", "tokio::net::TcpStream"],
        );
        check(
            "fn f() { tokio::select! { _ = g() => Instant::now() } }",
            &["Instant::now", "tokio::select"],
        );
        check(
            "fn f() { Vec::<crate::q::T>::with_capacity(1); }",
            &["crate::q::T"],
        );
    }

    #[test]
    fn leaves_tests_and_comments_out() {
        check(
            "//! tokio::spawn\n#[cfg(test)] #[allow(x)] mod tests { use std::fs::read; } use a::b;",
            &["a::b"],
        );
        check(
            "#[cfg(test)] use std::fs::{self}; mod m { use super::x::Y; }",
            &["crate::xds::session::x::Y"],
        );
    }

    #[test]
    fn reads_methods() {
        assert_eq!(
            of_text("fn f() { value.reveal().len(); value.reveal }", &[]).methods,
            ["reveal", "len"]
        );
    }
}
