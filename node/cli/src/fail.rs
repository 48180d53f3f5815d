//! How a command ends other than well.

use std::fmt;

use quorate_http::{Code, Outcome, code};
use serde_json::Value;

/// How a command ends.
pub(crate) type Done = Result<(), Fail>;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Fail {
    /// Something to be told.
    Told(Box<Told>),
    /// Whoever reads the output has heard enough. That is no error.
    PipeClosed,
    /// Everything was said; this is the exit code.
    Exit(u8),
}

/// A failure in words.
#[derive(Debug)]
pub(crate) struct Told {
    name: String,
    title: String,
    detail: String,
    state: String,
    next: String,
    usage: bool,
}

impl Fail {
    /// A failure of a known code.
    pub(crate) fn new(code: &'static Code, detail: impl Into<String>) -> Self {
        Self::Told(Box::new(Told {
            name: code.name(),
            title: code.title.to_owned(),
            detail: detail.into(),
            state: code.state.to_owned(),
            next: code.hint.to_owned(),
            usage: [code::BAD_SETTING, code::UNKNOWN_KEY].contains(&code),
        }))
    }

    /// The system refused something.
    pub(crate) fn io(doing: impl fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::new(code::IO, format!("{doing}: {error}"))
    }

    /// What an agent said. Its words are taken where this release has none of its own for the code.
    pub(crate) fn from_problem(problem: &Value, by: &str) -> Self {
        let text = |member: &str| problem[member].as_str().unwrap_or_default().to_owned();
        let name = text("code");
        let known = quorate_http::by_name(&name);
        let state = match (known, problem["outcome"].as_str()) {
            (Some(code), _) => code.state.to_owned(),
            (None, Some("not_done" | "refused")) => "Nothing changed.".to_owned(),
            (None, _) => "Unknown.".to_owned(),
        };
        let mut detail = text("detail");
        if let Some(holder) = problem.get("holder").and_then(holder) {
            detail = holder;
        }
        let told = Told {
            name,
            title: text("title"),
            detail: format!("{detail} (said by {by})"),
            state,
            next: text("hint"),
            usage: false,
        };
        Self::Told(Box::new(told))
    }

    /// Puts another next step in the place of the code's own.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.next = next.into();
        }
        self
    }

    /// What happened, in a line for a log.
    pub(crate) fn detail(&self) -> &str {
        match self {
            Self::Told(told) => &told.detail,
            Self::PipeClosed | Self::Exit(_) => "",
        }
    }

    /// Whether what was asked may have happened.
    pub(crate) fn is_unknown(&self) -> bool {
        match self {
            Self::Told(told) => quorate_http::by_name(&told.name)
                .is_some_and(|code| code.outcome == Outcome::Unknown),
            _ => false,
        }
    }

    /// Whether it is this code.
    pub(crate) fn is(&self, code: &Code) -> bool {
        matches!(self, Self::Told(told) if told.name == code.name())
    }
}

impl Told {
    pub(crate) fn exit(&self) -> u8 {
        if self.usage { 2 } else { 1 }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, title, detail, state, next, .. } = self;
        writeln!(f, "error[{name}]: {title}")?;
        if !detail.is_empty() {
            writeln!(f, "  {}", detail.trim_end().replace('\n', "\n  "))?;
        }
        writeln!(f, "  state: {state}")?;
        write!(f, "  next:  {next} (quorate explain {name})")
    }
}

fn holder(holder: &Value) -> Option<String> {
    let epoch = holder["epoch"].as_u64()?;
    Some(match (holder["session"].as_u64(), holder["holder"].as_str()) {
        (_, Some(process)) => format!("process {process} holds it under epoch {epoch}"),
        (Some(session), None) => format!("session {session} holds it under epoch {epoch}"),
        (None, None) => format!("it is held until released, under epoch {epoch}"),
    })
}
