//! What can be counted, in Prometheus' text format: base units, names that begin with `quorate_`.

use std::sync::Mutex;
use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use quorate::{Census, Clocks, Counters, Lane, Link, LinkState, MemberState, Status, Turnover};

use crate::codes::named;
use crate::face::Shared;
use crate::problem::Problem;

/// What the face counts of itself.
pub(crate) struct Counts {
    requests: Family<Request, Counter>,
    seconds: Family<Route, Histogram>,
    registry: Mutex<Registry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

impl Counts {
    pub(crate) fn new() -> Self {
        let requests = Family::<Request, Counter>::default();
        let seconds = Family::<Route, Histogram>::new_with_constructor(|| {
            Histogram::new([
                0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
            ])
        });
        let mut registry = Registry::with_prefix("quorate_http");
        registry.register("requests", "Requests that were answered", requests.clone());
        registry.register_with_unit(
            "request_duration",
            "From a request's head to the head of its answer",
            Unit::Seconds,
            seconds.clone(),
        );
        Self { requests, seconds, registry: Mutex::new(registry) }
    }

    pub(crate) fn answered(
        &self,
        method: &Method,
        route: &str,
        status: StatusCode,
        took: Duration,
    ) {
        // A client chooses its method freely; a label must not.
        let method = match *method {
            Method::GET => "GET",
            Method::PUT => "PUT",
            Method::POST => "POST",
            Method::DELETE => "DELETE",
            _ => "other",
        };
        let (route, status) = (route.to_owned(), status.as_u16());
        let request = Request { method, route: route.clone(), status };
        self.requests.get_or_create(&request).inc();
        self.seconds.get_or_create(&Route { route }).observe(took.as_secs_f64());
    }
}

/// `GET /metrics`
pub(crate) async fn metrics(State(inside): State<Shared>) -> Result<Response, Problem> {
    let links = inside.node.links();
    let view = View {
        status: inside.node.status(),
        counters: inside.node.counters(),
        links: links.list(),
        clocks: links.clocks(),
        census: inside.node.singletons().census(),
        turnover: inside.node.singletons().turnover(),
    };
    let mut seen = Registry::with_prefix("quorate");
    seen.register_collector(Box::new(view));
    let failed = |e: std::fmt::Error| Problem::new(named::FAILED_INSIDE, e.to_string());
    let (mut text, mut own) = (String::new(), String::new());
    encode(&mut text, &seen).map_err(failed)?;
    {
        let registry =
            inside.counts.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        encode(&mut own, &registry).map_err(failed)?;
    }
    // Each of the two ends with the mark of the end; one text has one.
    let text = text.strip_suffix("# EOF\n").unwrap_or(&text);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], format!("{text}{own}")).into_response())
}

/// The node at the moment of a scrape.
#[derive(Debug)]
struct View {
    status: Status,
    counters: Counters,
    links: Vec<Link>,
    clocks: Clocks,
    census: Census,
    turnover: Turnover,
}

impl Collector for View {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.gauges(&mut encoder)?;
        self.links(&mut encoder)?;
        self.singletons(&mut encoder)?;
        self.peers(&mut encoder)
    }
}

impl View {
    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let status = &self.status;
        let group = &status.group;
        let up = status.members.iter().filter(|one| one.state == MemberState::Up).count();
        let linked =
            status.members.iter().filter(|one| one.linked && one.id != status.node).count();
        let voters = status.members.iter().filter(|one| one.votes).count();
        let leads = status.leader.as_ref() == Some(&status.name);
        for (name, help, value) in [
            ("raft_term", "Raft's term", status.term),
            ("raft_last_index", "The last entry of this node's log", group.last_index.0),
            ("raft_applied_index", "The last entry that is applied here", status.index.0),
            ("raft_snapshot_index", "The last entry that a snapshot covers", group.snapshot.0),
            ("raft_purged_index", "The last entry that is no longer in the log", group.purged.0),
            ("raft_leader", "Whether this node leads, as far as it knows", u64::from(leads)),
            (
                "quorate",
                "Whether a majority confirmed this node's lease",
                u64::from(status.quorate),
            ),
            ("names", "Names that are held", status.names),
            ("sessions", "Sessions that live", status.sessions),
            ("members", "Nodes that take part", status.members.len() as u64),
            ("members_up", "Nodes that have a session", up as u64),
            ("voters", "Nodes that vote", voters as u64),
            (
                "disk_healthy",
                "Whether the disk takes what this node gives it",
                u64::from(status.disk.standing.is_healthy()),
            ),
            (
                "disk_stuck",
                "Whether nothing can be made durable here",
                u64::from(status.disk.stuck),
            ),
            ("mesh_links", "Members that this node is linked to", linked as u64),
        ] {
            let gauge = ConstGauge::new(value as i64);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let stale = match status.stale {
            Duration::MAX => f64::INFINITY,
            stale => stale.as_secs_f64(),
        };
        let stale = ConstGauge::new(stale);
        let help =
            "How old what this node knows may be; infinite before it has caught up with a majority";
        let seconds = Some(&Unit::Seconds);
        stale.encode(encoder.encode_descriptor("stale", help, seconds, MetricType::Gauge)?)
    }

    fn singletons(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Singletons, by how they are";
        let mut family = encoder.encode_descriptor("singletons", help, None, MetricType::Gauge)?;
        for (state, count) in self.census.by_state() {
            ConstGauge::new(count as i64).encode(family.encode_family(&[("state", state)])?)?;
        }
        let help = "Singletons that this node has";
        let here = ConstGauge::new(self.census.here as i64);
        here.encode(encoder.encode_descriptor(
            "singletons_here",
            help,
            None,
            MetricType::Gauge,
        )?)?;
        let Turnover { ended, gaps, idle } = &self.turnover;
        let help = "Holders of singletons that ended, by how that is known";
        let counter = MetricType::Counter;
        let mut family = encoder.encode_descriptor("singleton_ends", help, None, counter)?;
        for (evidence, count) in ended {
            let labels = [("evidence", *evidence)];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
        let help = "How often a singleton ran again after its holder had ended";
        let gaps = ConstCounter::new(*gaps);
        gaps.encode(encoder.encode_descriptor("singleton_gaps", help, None, counter)?)?;
        let help = "For how long nobody ran one in between, all together";
        let idle = ConstCounter::new(idle.as_secs_f64());
        let seconds = Some(&Unit::Seconds);
        idle.encode(encoder.encode_descriptor("singleton_idle", help, seconds, counter)?)
    }

    fn links(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Counters { opened, closed, control, data, .. } = &self.counters;
        let counter = MetricType::Counter;
        let help = "Links that came up";
        let opened = ConstCounter::new(*opened);
        opened.encode(encoder.encode_descriptor("mesh_links_opened", help, None, counter)?)?;
        let help = "Connections that ended, by reason";
        let mut family = encoder.encode_descriptor("mesh_links_closed", help, None, counter)?;
        for (reason, count) in closed {
            let labels = [("reason", *reason)];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
        let frames = [
            (("control", "in"), control.frames_in, control.bytes_in),
            (("control", "out"), control.frames_out, control.bytes_out),
            (("data", "in"), data.frames_in, data.bytes_in),
            (("data", "out"), data.frames_out, data.bytes_out),
        ];
        let help = "Frames over all links";
        let mut family = encoder.encode_descriptor("mesh_frames", help, None, counter)?;
        for ((lane, direction), count, _) in frames {
            let labels = [("lane", lane), ("direction", direction)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        let help = "Bytes of bodies over all links, by lane";
        let mut family = encoder.encode_descriptor("mesh_lane_bytes", help, None, counter)?;
        for (road, traffic) in [("control", control), ("data", data)] {
            for (way, lanes) in [("in", traffic.lanes_in), ("out", traffic.lanes_out)] {
                for lane in Lane::ALL {
                    let labels = [("road", road), ("lane", lane.as_str()), ("direction", way)];
                    let bytes = ConstCounter::new(lanes[lane.index()]);
                    bytes.encode(family.encode_family(&labels)?)?;
                }
            }
        }
        let help = "Bytes over all links";
        let mut family = encoder.encode_descriptor("mesh_bytes", help, None, counter)?;
        for ((lane, direction), _, bytes) in frames {
            let labels = [("lane", lane), ("direction", direction)];
            ConstCounter::new(bytes).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// What is measured of each link. Peers are as many as nodes that this one is linked to.
    fn peers(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        type Figure = fn(&LinkState) -> Option<f64>;
        let figures: [(&str, &str, Option<&Unit>, Figure); 3] = [
            (
                "mesh_round_trip",
                "Half of the round trips took at most so long",
                Some(&Unit::Seconds),
                |link| link.round_trips.map(|trips| trips.p50.as_secs_f64()),
            ),
            ("mesh_waiting", "What waits to be written", Some(&Unit::Bytes), |link| {
                Some(link.waiting as f64)
            }),
            (
                "mesh_late_round_trips",
                "Round trips so late that something was probably lost, of the \
              present link",
                None,
                |link| Some(link.late as f64),
            ),
        ];
        for (name, help, unit, figure) in figures {
            let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
            for link in &self.links {
                for (road, state) in [("control", &link.control), ("data", &link.data)] {
                    if let Some(value) = state.as_ref().and_then(figure) {
                        let labels = [("peer", link.name.as_str()), ("road", road)];
                        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
                    }
                }
            }
        }
        let Some(skew) = self.clocks.own().skew else { return Ok(()) };
        let seconds = Some(&Unit::Seconds);
        let help = "By how much this node's wall clock is ahead of the median of those it knows";
        let ahead = ConstGauge::new(skew.nanos as f64 / 1e9);
        ahead.encode(encoder.encode_descriptor(
            "clock_ahead",
            help,
            seconds,
            MetricType::Gauge,
        )?)?;
        let help = "How wrong that may be";
        let error = ConstGauge::new(skew.error.as_secs_f64());
        error.encode(encoder.encode_descriptor(
            "clock_error",
            help,
            seconds,
            MetricType::Gauge,
        )?)?;
        let help = "Nodes whose wall clock is certainly off";
        let off = ConstGauge::new(self.clocks.off() as i64);
        off.encode(encoder.encode_descriptor("clocks_off", help, None, MetricType::Gauge)?)
    }
}
