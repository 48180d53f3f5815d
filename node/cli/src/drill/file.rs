//! Drills of one's own: a TOML file with a list of steps.
//!
//! ```toml
//! about = "the owner is cut off while the leader's disk is slow"
//! nodes = 5
//!
//! [[step]]
//! do = "slow-disk"
//! who = "leader"
//! takes = "100ms"
//! lasts = "4s"
//! ```

use std::path::Path;
use std::time::Duration;

use quorate_discovery::nearest;
use quorate_drill::script::{Deed, Script, Step, Who};
use quorate_http::code;
use serde::Deserialize;

use crate::fail::Fail;
use crate::span;

/// A file of steps is not longer.
const FILE_BYTES_MAX: u64 = 64 * 1024;
const STEPS_MAX: usize = 1_000;
/// An agent ends a fault by itself after so long at the latest.
const LASTS_MAX: Duration = Duration::from_secs(300);

const DEEDS: [&str; 21] = [
    "kill",
    "pause",
    "restart",
    "cut",
    "deafen",
    "mute",
    "one-way",
    "halves",
    "bridge",
    "flap",
    "slow",
    "lossy",
    "clock",
    "jump",
    "fill-disk",
    "slow-disk",
    "stall-disk",
    "drain",
    "move",
    "step-down",
    "restore",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    about: String,
    nodes: Option<u8>,
    #[serde(default)]
    forgetful: bool,
    step: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(rename = "do")]
    deed: String,
    who: Option<String>,
    lasts: Option<String>,
    rest: Option<String>,
    by: Option<String>,
    takes: Option<String>,
    percent: Option<u8>,
    ppm: Option<i32>,
    ms: Option<i64>,
}

/// Reads one.
pub(super) fn read(path: &Path) -> Result<Script, Fail> {
    let shown = path.display();
    let meta = std::fs::metadata(path).map_err(Fail::io(format!("reading {shown}")))?;
    let wrong = |why: String| Fail::new(code::BAD_SETTING, format!("{shown}: {why}"));
    if meta.len() > FILE_BYTES_MAX {
        return Err(wrong(format!("it has {} bytes, {FILE_BYTES_MAX} is the most", meta.len())));
    }
    let text = std::fs::read_to_string(path).map_err(Fail::io(format!("reading {shown}")))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    parse(&name, &text).map_err(wrong)
}

fn parse(name: &str, text: &str) -> Result<Script, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let nodes = usize::from(file.nodes.unwrap_or(3));
    if !(3..=9).contains(&nodes) {
        return Err(format!("{nodes} nodes are none of 3 to 9"));
    }
    if file.step.is_empty() || file.step.len() > STEPS_MAX {
        return Err(format!("it has {} steps, and 1 to {STEPS_MAX} are a drill", file.step.len()));
    }
    let numbered = file.step.iter().enumerate();
    let steps = numbered.map(|(nth, line)| {
        step(line).map_err(|why| format!("step {} (`{}`): {why}", nth + 1, line.deed))
    });
    Ok(Script {
        name: name.to_owned(),
        about: file.about,
        nodes,
        forgetful: file.forgetful,
        steps: steps.collect::<Result<_, _>>()?,
    })
}

fn step(line: &Line) -> Result<Step, String> {
    let time = |text: &Option<String>, otherwise| match text {
        Some(text) => span::parse(text),
        None => Ok(otherwise),
    };
    let lasts = time(&line.lasts, Duration::from_secs(5))?;
    if lasts > LASTS_MAX {
        return Err(format!("{lasts:?} is too long, {LASTS_MAX:?} is the most"));
    }
    let who = line.who.as_deref().map_or(Ok(Who::Owner), who)?;
    // A word that a deed has no use for was meant for something.
    let mut used = Vec::new();
    let mut needs = |key: &'static str, is_there: bool| {
        used.push(key);
        if is_there { Ok(()) } else { Err(format!("it needs `{key}`")) }
    };
    let deed = match line.deed.as_str() {
        "kill" => Deed::Kill,
        "pause" => Deed::Pause,
        "restart" => Deed::Restart,
        "cut" => Deed::Cut,
        "deafen" => Deed::Deafen,
        "mute" => Deed::Mute,
        "one-way" => Deed::OneWay,
        "halves" => Deed::Halves,
        "bridge" => Deed::Bridge,
        "flap" => Deed::Flap,
        "slow" => {
            needs("by", line.by.is_some())?;
            Deed::Slow { by: time(&line.by, Duration::ZERO)? }
        }
        "lossy" => {
            needs("percent", line.percent.is_some_and(|percent| percent <= 90))?;
            Deed::Lossy { percent: line.percent.unwrap_or_default() }
        }
        "clock" => {
            needs("ppm", line.ppm.is_some())?;
            Deed::Clock { ppm: line.ppm.unwrap_or_default() }
        }
        "jump" => {
            needs("ms", line.ms.is_some())?;
            Deed::Jump { ms: line.ms.unwrap_or_default() }
        }
        "fill-disk" => Deed::FillDisk,
        "slow-disk" => {
            needs("takes", line.takes.is_some())?;
            Deed::SlowDisk { takes: time(&line.takes, Duration::ZERO)? }
        }
        "stall-disk" => Deed::StallDisk,
        "drain" => Deed::Drain,
        "move" => Deed::Move,
        "step-down" => Deed::StepDown,
        "restore" => Deed::Restore,
        other => return Err(unknown("do", other, &DEEDS)),
    };
    let said = [
        ("by", line.by.is_some()),
        ("takes", line.takes.is_some()),
        ("percent", line.percent.is_some()),
        ("ppm", line.ppm.is_some()),
        ("ms", line.ms.is_some()),
    ];
    if let Some((key, _)) = said.iter().find(|(key, is_said)| *is_said && !used.contains(key)) {
        return Err(format!("it has no use for `{key}`"));
    }
    Ok(Step { deed, who, lasts, rest: time(&line.rest, Duration::from_secs(2))? })
}

fn who(word: &str) -> Result<Who, String> {
    if let Some(role) = Who::ROLES.into_iter().find(|role| role.word() == word) {
        return Ok(role);
    }
    if word.strip_prefix('n').is_some_and(|n| n.parse::<u8>().is_ok()) {
        return Ok(Who::Node(word.to_owned()));
    }
    let words = Who::ROLES.each_ref().map(Who::word);
    Err(unknown("who", word, &words) + ", or a node such as n2")
}

fn unknown(key: &str, word: &str, known: &[&str]) -> String {
    let near = nearest(word, known).map_or(String::new(), |near| format!("; is it `{near}`?"));
    format!("`{key} = \"{word}\"` is none of {}{near}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_with_what_is_not_said_filled_in() {
        let text = "about = 'a'\nnodes = 5\n[[step]]\ndo = 'slow-disk'\nwho = 'leader'\ntakes = '100ms'\n\
                    lasts = '4s'\n[[step]]\ndo = 'cut'\nwho = 'n3'\nrest = '1s'\n";
        let script = parse("mine", text).unwrap();
        assert_eq!((script.name.as_str(), script.about.as_str(), script.nodes), ("mine", "a", 5));
        let seconds = Duration::from_secs;
        let slow = Deed::SlowDisk { takes: Duration::from_millis(100) };
        let (first, second) = (&script.steps[0], &script.steps[1]);
        assert_eq!((&first.deed, &first.who), (&slow, &Who::Leader));
        assert_eq!((first.lasts, first.rest), (seconds(4), seconds(2)));
        assert_eq!((&second.deed, &second.who), (&Deed::Cut, &Who::Node("n3".to_owned())));
        assert_eq!((second.lasts, second.rest), (seconds(5), seconds(1)));
    }

    #[test]
    fn every_deed_has_a_word_and_every_word_a_deed() {
        for word in DEEDS {
            let more = match word {
                "slow" => "by = '1ms'",
                "lossy" => "percent = 5",
                "clock" => "ppm = 5",
                "jump" => "ms = 5",
                "slow-disk" => "takes = '1ms'",
                _ => "",
            };
            let script = parse("x", &format!("[[step]]\ndo = '{word}'\n{more}\n")).unwrap();
            assert_eq!(script.steps[0].deed.word(), word);
        }
        for role in Who::ROLES {
            let word = role.word();
            parse("x", &format!("[[step]]\ndo = 'cut'\nwho = '{word}'\n")).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_step() {
        for (text, why) in [
            ("", "missing field `step`"),
            ("step = []", "0 steps"),
            ("nodes = 99\n[[step]]\ndo = 'cut'", "99 nodes"),
            ("[[step]]\ndo = 'cutt'", "is it `cut`?"),
            ("[[step]]\ndo = 'cut'\nwho = 'lider'", "is it `leader`?"),
            ("[[step]]\ndo = 'cut'\n[[step]]\ndo = 'slow'", "step 2 (`slow`): it needs `by`"),
            ("[[step]]\ndo = 'cut'\nppm = 4", "it has no use for `ppm`"),
            ("[[step]]\ndo = 'cut'\nlasts = '5'", "no span of time"),
            ("[[step]]\ndo = 'cut'\nlasts = '1h'", "too long"),
            ("[[step]]\ndo = 'cut'\nfoo = 1", "unknown field `foo`"),
        ] {
            let said = parse("x", text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
