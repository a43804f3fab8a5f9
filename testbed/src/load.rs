//! An open-loop load generator: requests leave when their time has come, whatever became of
//! those before, and latency counts from that time, so that a stall is seen by every request
//! that it holds up (no coordinated omission).
//!
//! Every arrival goes to all sides at once, each with its own fleet of listeners: one plan, one
//! clock, so the sides differ in nothing but what answers. It is one future that owns all its
//! connections and requests: dropping it ends everything, and there is no lock and no task.

mod arrivals;
mod tally;
pub(crate) mod wire;

pub use arrivals::{Arrival, Arrivals, Segment};
pub use tally::{End, Summary, Tally};

use crate::draws::{self, Draw};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use wire::Wire;

/// How often what has been seen so far is published.
const LIVE_EVERY: Duration = Duration::from_millis(500);

/// How long after the timeout a request is given up. The proxy's own timeout is the same as
/// ours and starts a little later; were we to hang up first, the proxy would count a client
/// that left where it should count an endpoint that did not answer. And hanging up costs both
/// a connection: on a machine that falls behind, more than waiting a second for the proxy.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// A request that leaves this long after its time left late: the machine could not keep up
/// with the plan, and the latencies that it saw are partly the generator's own.
pub(crate) const LATE: Duration = Duration::from_millis(50);

/// Requests under way on one side: a rate of 1,200 a second, none of them answered, four times
/// over. Beyond it an arrival is not sent but counted as a failure.
pub(crate) const UNDER_WAY_MAX: usize = 16_384;

/// Idle connections kept per listener; a fleet's listener has a few requests under way.
pub(crate) const IDLE_MAX: usize = 64;

/// What to send where.
#[derive(Clone, Debug)]
pub struct Load {
    /// The seed of arrivals and of what the requests weigh.
    pub seed: u64,
    /// The rates, one after the other.
    pub segments: Vec<Segment>,
    /// Each side's listeners, over which its requests spread evenly.
    pub sides: Vec<Vec<SocketAddr>>,
    /// When a request has failed for being late.
    pub timeout: Duration,
}

/// What has been seen of the segment that is under way.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The segment's place in the plan.
    pub segment: usize,
    /// The time since the first segment began.
    pub elapsed: Duration,
    /// What each side saw.
    pub sides: Vec<SideLive>,
}

/// What one side has seen of the segment that is under way.
#[derive(Clone, Copy, Debug, Default)]
pub struct SideLive {
    /// Answers a second, at present.
    pub rps: f64,
    /// The segment so far.
    pub so_far: Summary,
}

impl Load {
    /// Sends it all, publishing progress, and returns each segment's tally per side.
    /// A request belongs to the segment in which its time came. `stop` ends the sending early;
    /// the answers to what was sent are still awaited.
    pub async fn run(
        self,
        live: &watch::Sender<Live>,
        stop: &CancellationToken,
    ) -> Vec<Vec<Tally>> {
        let mut arrivals = Arrivals::new(self.seed, &self.segments);
        let mut generator = Generator::new(&self);
        let mut next = arrivals.next();
        let mut under_way = FuturesUnordered::new();
        let mut timer = pin!(sleep_until(generator.start));
        let mut beat = interval(LIVE_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while next.is_some() || !under_way.is_empty() {
            tokio::select! {
                biased;
                () = stop.cancelled(), if next.is_some() => next = None,
                () = &mut timer, if next.is_some() => {
                    let now = Instant::now();
                    while let Some(arrival) = next.filter(|next| generator.due(next) <= now) {
                        let orders = generator.orders(&arrival, now, under_way.len());
                        under_way.extend(orders.into_iter().map(Order::carry_out));
                        next = arrivals.next();
                    }
                    if let Some(next) = &next {
                        timer.as_mut().reset(generator.due(next));
                    }
                }
                Some(done) = under_way.next() => generator.finish(done),
                now = beat.tick() => generator.publish(live, now),
            }
        }
        generator.publish(live, Instant::now());
        generator.tallies
    }
}

/// The generator's books.
struct Generator<'a> {
    load: &'a Load,
    start: Instant,
    /// Idle connections per side and listener.
    idle: Vec<Vec<Vec<Wire>>>,
    /// Per segment and side.
    tallies: Vec<Vec<Tally>>,
    /// Answers per side since the last publication, and when that was.
    answers: Vec<u32>,
    published: Instant,
}

impl Generator<'_> {
    fn new(load: &Load) -> Generator<'_> {
        let start = Instant::now();
        let wires = |side: &Vec<SocketAddr>| side.iter().map(|_| Vec::new()).collect();
        let tallies = || load.sides.iter().map(|_| Tally::new(load.timeout)).collect();
        Generator {
            load,
            start,
            idle: load.sides.iter().map(wires).collect(),
            tallies: load.segments.iter().map(|_| tallies()).collect(),
            answers: vec![0; load.sides.len()],
            published: start,
        }
    }

    fn due(&self, arrival: &Arrival) -> Instant {
        self.start + arrival.at
    }

    /// What an arrival asks for: the same of every side. Nothing, where it could not be
    /// answered in time any more or too many are under way.
    fn orders(&mut self, arrival: &Arrival, now: Instant, under_way: usize) -> Vec<Order> {
        let (load, due) = (self.load, self.due(arrival));
        let tallies = &mut self.tallies[arrival.segment];
        if now >= due + LATE {
            for tally in tallies.iter_mut() {
                tally.late += 1;
            }
        }
        let unsent = if now >= due + load.timeout {
            Some(End::TimedOut)
        } else {
            (under_way >= UNDER_WAY_MAX * load.sides.len()).then_some(End::Unsent)
        };
        if let Some(end) = unsent {
            for tally in tallies.iter_mut() {
                tally.add(end);
            }
            return Vec::new();
        }
        let draw = Draw::first(load.seed, arrival.number);
        let order = |(side, listeners): (usize, &Vec<SocketAddr>)| {
            let listener = draw.listener(listeners.len());
            let wire = self.idle[side][listener].pop();
            let address = listeners[listener];
            let segment = arrival.segment;
            Order { side, listener, segment, address, draw, wire, due, timeout: load.timeout }
        };
        load.sides.iter().enumerate().map(order).collect()
    }

    fn finish(&mut self, done: Done) {
        self.tallies[done.segment][done.side].add(done.end);
        self.answers[done.side] += 1;
        let idle = &mut self.idle[done.side][done.listener];
        if idle.len() < IDLE_MAX {
            idle.extend(done.wire);
        }
    }

    fn publish(&mut self, live: &watch::Sender<Live>, now: Instant) {
        let elapsed = now.saturating_duration_since(self.start);
        let since = now.saturating_duration_since(self.published).as_secs_f64();
        let segment = arrivals::segment_at(&self.load.segments, elapsed);
        let side = |(tally, answers): (&Tally, &u32)| SideLive {
            rps: if since > 0.0 { f64::from(*answers) / since } else { 0.0 },
            so_far: tally.summary(),
        };
        let tallies = self.tallies.get(segment).into_iter().flatten();
        let sides = tallies.zip(&self.answers).map(side).collect();
        live.send_replace(Live { segment, elapsed, sides });
        self.answers.fill(0);
        self.published = now;
    }
}

/// One request to one side.
struct Order {
    side: usize,
    listener: usize,
    segment: usize,
    address: SocketAddr,
    draw: Draw,
    wire: Option<Wire>,
    due: Instant,
    timeout: Duration,
}

/// What became of it.
struct Done {
    side: usize,
    listener: usize,
    segment: usize,
    end: End,
    wire: Option<Wire>,
}

impl Order {
    async fn carry_out(self) -> Done {
        let Order { side, listener, segment, due, timeout, .. } = self;
        let header = (draws::HEADER, self.draw.header());
        let asked = wire::ask_within((timeout, GRACE), due, self.wire, self.address, header);
        let (end, _, wire) = asked.await;
        Done { side, listener, segment, end, wire }
    }
}

#[cfg(test)]
mod tests;
