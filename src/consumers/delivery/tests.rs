//! Single decisions by example, and all of them together against a model of a consumer, in random schedules.

use proptest::prelude::*;

use super::*;

const EVERY: Duration = Duration::from_secs(300);

fn delivery() -> Delivery<u32> {
    Delivery::new(EVERY, false)
}

fn shown(verdict: Verdict, asked: Asked) -> Shown {
    Shown { verdict, asked }
}

fn obstacle(key: &str) -> Obstacle {
    Obstacle { key: key.to_owned(), slow: false, alarm: false }
}

/// A delivery whose set number 1 is in force.
fn settled(now: Instant) -> Delivery<u32> {
    let mut delivery = delivery();
    delivery.begin(&1, true);
    delivery.reloaded(now);
    assert!(!delivery.settle(shown(Verdict::Current, Asked::Yes), true, now));
    delivery
}

#[test]
fn a_published_set_owes_a_reload_until_there_was_one() {
    let now = Instant::now();
    let mut delivery = delivery();
    delivery.begin(&1, true);
    assert!(delivery.owes_reload() && delivery.should_reload(false, now));
    delivery.reloaded(now);
    assert!(!delivery.owes_reload());
    delivery.begin(&1, true);
    assert!(delivery.owes_reload());
}

#[test]
fn without_news_a_reload_is_repeated_after_five_minutes() {
    let now = Instant::now();
    let mut delivery = delivery();
    delivery.begin(&1, true);
    delivery.reloaded(now);
    delivery.retry(Verdict::StillOld, obstacle("a"), now);
    delivery.begin(&1, false);
    let almost = now + RELOAD_AGAIN - Duration::from_millis(1);
    assert!(!delivery.should_reload(false, almost));
    assert!(delivery.should_reload(true, almost));
    assert!(delivery.should_reload(false, now + RELOAD_AGAIN));
}

#[test]
fn a_settled_consumer_is_not_asked_to_reload_again() {
    let now = Instant::now();
    let delivery = settled(now);
    assert!(!delivery.should_reload(true, now + RELOAD_AGAIN * 2));
    assert_eq!(delivery.next(), Some(now + EVERY));
}

#[test]
fn a_look_that_shows_a_new_set_is_proof_without_a_reload_of_ours() {
    let now = Instant::now();
    let mut delivery = settled(now);
    delivery.begin(&2, true);
    assert!(delivery.is_done(shown(Verdict::Current, Asked::NotYet)));
}

#[test]
fn a_look_that_would_have_shown_the_same_before_is_no_proof() {
    let now = Instant::now();
    let unasked = shown(Verdict::Current, Asked::NotYet);
    let mut in_force = settled(now);
    in_force.begin(&1, true);
    assert!(!in_force.is_done(unasked), "it showed 1 before");
    // The consumer may have restarted and read the first set 2; the second one looks the same, but may have another key.
    let mut published = settled(now);
    for set in [2, 3, 2] {
        published.begin(&set, true);
    }
    assert!(!published.is_done(unasked));
    published.reloaded(now);
    assert!(published.is_done(shown(Verdict::Current, Asked::Yes)));
    published.settle(shown(Verdict::Current, Asked::Yes), true, now);
    published.begin(&3, true);
    assert!(published.is_done(unasked), "what it has read since is 2");
}

#[test]
fn a_consumer_that_serves_the_set_without_having_been_asked_is_asked_when_it_can_be() {
    let now = Instant::now();
    let mut delivery = delivery();
    delivery.begin(&1, true);
    delivery.settle(shown(Verdict::Current, Asked::NotYet), true, now);
    assert!(delivery.is_settled() && !delivery.owes_reload() && !delivery.is_at_rest());
    assert!(delivery.next().unwrap() < now + EVERY);
    delivery.begin(&1, false);
    assert!(delivery.should_reload(false, now));
    delivery.reloaded(now);
    delivery.settle(shown(Verdict::Current, Asked::Yes), true, now);
    assert!(delivery.is_at_rest());
    assert_eq!(delivery.next(), Some(now + EVERY));
}

#[test]
fn what_a_look_cannot_show_takes_a_reload() {
    let now = Instant::now();
    let mut with_map = Delivery::new(EVERY, true);
    with_map.begin(&1, true);
    assert!(!with_map.is_done(shown(Verdict::Current, Asked::NotYet)));
    let mut distrusted = settled(now);
    distrusted.distrust();
    distrusted.begin(&1, false);
    assert!(distrusted.should_reload(false, now));
    assert!(!distrusted.is_done(shown(Verdict::Current, Asked::Refused)));
}

#[test]
fn an_obstacle_is_reported_once_and_again_after_it_was_gone() {
    let now = Instant::now();
    let mut delivery = delivery();
    delivery.begin(&1, true);
    let told = |delivery: &mut Delivery<u32>, key: &str| {
        delivery.retry(Verdict::StillOld, obstacle(key), now).1
    };
    assert_eq!(told(&mut delivery, "a"), AlreadyReported::Never);
    delivery.begin(&1, false);
    assert_eq!(told(&mut delivery, "b"), AlreadyReported::Never);
    delivery.begin(&1, false);
    assert_eq!(
        told(&mut delivery, "a"),
        AlreadyReported::Before,
        "two obstacles may show themselves alternately"
    );
    delivery.begin(&1, true);
    assert_eq!(told(&mut delivery, "a"), AlreadyReported::ForAnotherGeneration);
    delivery.reloaded(now);
    delivery.settle(shown(Verdict::Current, Asked::Yes), true, now);
    delivery.begin(&1, false);
    assert_eq!(told(&mut delivery, "a"), AlreadyReported::Never);
}

#[test]
fn retries_are_slower_where_somebody_has_to_fix_something() {
    let now = Instant::now();
    for (slow, longest) in [(false, SOON.1), (true, SLOWLY.1)] {
        let mut delivery = delivery();
        let mut most = Duration::ZERO;
        for _ in 0..200 {
            delivery.begin(&1, false);
            let obstacle = Obstacle { key: String::new(), slow, alarm: slow };
            let (delay, _) = delivery.retry(Verdict::StillOld, obstacle, now);
            assert_eq!(delivery.next(), Some(now + delay));
            most = most.max(delay);
        }
        assert!(most <= longest && most > longest / 2, "{slow}: {most:?}");
    }
}

#[test]
fn changes_without_end_are_looked_at_less_and_less_often() {
    let mut delivery = delivery();
    let now = Instant::now();
    let mut pause = |published| {
        delivery.begin(&1, published);
        assert_eq!(delivery.after_change(), None);
        delivery.note_change(now);
        // The first change counts: later ones postpone nothing.
        delivery.note_change(now + SETTLE);
        delivery.after_change().unwrap() - now
    };
    assert_eq!(pause(true), SETTLE);
    let pauses: Vec<_> = (0..10).map(|_| pause(false)).collect();
    assert!(pauses.is_sorted());
    assert_eq!(pauses.last(), Some(&(SETTLE * 64)));
    assert_eq!(pause(true), SETTLE);
}

#[test]
fn a_consumer_that_serves_the_set_but_was_never_asked_is_asked_soon() {
    let now = Instant::now();
    let mut delivery = delivery();
    delivery.begin(&1, true);
    delivery.settle(shown(Verdict::Current, Asked::NotYet), false, now);
    assert!(delivery.next().unwrap() < now + EVERY);
}

/// An event at a consumer or around it.
#[derive(Debug, Clone)]
enum Event {
    /// A set is published. Sets may look alike to a probe.
    Publish { features: u8 },
    /// Somebody has changed the published set.
    Distrust,
    /// The consumer starts, or stops. At a start it reads its files.
    Run(bool),
    /// Whether it may be asked to reload.
    Asked(u8),
    /// Whether it accepts the published files.
    Takes(bool),
    /// The operator has edited something.
    Edit,
    /// Milliseconds pass.
    Wait(u32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..4u8).prop_map(|features| Event::Publish { features }),
        1 => Just(Event::Distrust),
        2 => any::<bool>().prop_map(Event::Run),
        2 => (0..3u8).prop_map(Event::Asked),
        2 => any::<bool>().prop_map(Event::Takes),
        1 => Just(Event::Edit),
        6 => (1..700_000u32).prop_map(Event::Wait),
    ]
}

/// A model of a consumer, and the decisions of pgsvid about it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one fact of the world, and they change one by one"
)]
struct Model {
    delivery: Delivery<u32>,
    now: Instant,
    published: u32,
    features: u32,
    /// The published set that it has read, and what a check shows of it.
    read: u32,
    serves: u32,
    runs: bool,
    asked: Asked,
    takes: bool,
    /// Whether it refused the published files at the last reload.
    refused: bool,
    edits: u32,
    edits_seen: Option<u32>,
    /// The last reload, and whether nothing has required another one since.
    reloaded: Option<(Instant, bool)>,
    /// Whether somebody has changed the published set, and there was no reload since.
    distrusted: bool,
}

impl Model {
    fn new() -> Self {
        Self {
            delivery: delivery(),
            now: Instant::now(),
            published: 0,
            features: 0,
            read: 0,
            serves: u32::MAX,
            runs: true,
            asked: Asked::Yes,
            takes: true,
            refused: false,
            edits: 0,
            edits_seen: None,
            reloaded: None,
            distrusted: false,
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Publish { features } => {
                self.published += 1;
                self.features = u32::from(features);
                self.reloaded = self.reloaded.map(|(at, _)| (at, false));
                self.attempt(true);
            }
            Event::Distrust => {
                self.delivery.distrust();
                self.distrusted = true;
                self.reloaded = self.reloaded.map(|(at, _)| (at, false));
                self.attempt(false);
            }
            Event::Run(runs) => {
                if runs && !self.runs && self.takes {
                    self.reads();
                }
                self.runs = runs;
            }
            Event::Asked(how) => {
                self.asked = [Asked::Yes, Asked::NotYet, Asked::Refused][usize::from(how)];
            }
            Event::Takes(takes) => self.takes = takes,
            Event::Edit => {
                self.edits += 1;
                self.reloaded = self.reloaded.map(|(at, _)| (at, false));
            }
            Event::Wait(milliseconds) => {
                self.pass(Duration::from_millis(u64::from(milliseconds)));
            }
        }
    }

    /// Lets time pass, and makes each attempt when it is due.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.delivery.next().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.attempt(false);
            let after = self.delivery.next().unwrap();
            assert!(after > self.now, "it comes to rest between attempts");
        }
        self.now = until;
    }

    fn reads(&mut self) {
        (self.read, self.serves) = (self.published, self.features);
        self.refused = false;
    }

    fn attempt(&mut self, published: bool) {
        if self.published == 0 {
            return;
        }
        let delivery = &mut self.delivery;
        delivery.begin(&self.features, published);
        let asked = if self.runs { self.asked } else { Asked::NotYet };
        let routine = delivery.is_at_rest();
        let news = self.edits_seen != Some(self.edits);
        let is_owed = delivery.is_owed();
        if !routine && asked == Asked::Yes && delivery.should_reload(news, self.now) {
            if let Some((at, true)) = self.reloaded
                && !is_owed
            {
                assert!(self.now - at >= RELOAD_AGAIN, "a reload that nothing has called for");
            }
            self.delivery.reloaded(self.now);
            self.reloaded = Some((self.now, true));
            self.edits_seen = Some(self.edits);
            self.distrusted = false;
            self.refused = !self.takes;
            if self.takes {
                self.reads();
            }
        }
        let verdict = match (self.runs, self.serves == self.features) {
            (false, _) => Verdict::Unreachable,
            (true, true) => Verdict::Current,
            (true, false) => Verdict::StillOld,
        };
        let asked = if routine { Asked::Yes } else { asked };
        let shown = shown(verdict, asked);
        if self.delivery.is_done(shown) {
            self.delivery.settle(shown, true, self.now);
            assert!(verdict == Verdict::Current && self.serves == self.features);
            // Only a check can tell whether a reload was refused, and it cannot if the set before looks the same.
            assert!(self.read == self.published || self.refused, "it has read what was published");
            assert!(!self.delivery.owes_reload());
            assert!(!self.distrusted, "what is distrusted takes a reload of ours");
            assert!(self.delivery.next().unwrap() <= self.now + EVERY);
        } else {
            let slow = asked == Asked::Refused;
            let key = format!("{verdict} {asked:?}");
            let obstacle = Obstacle { key, slow, alarm: slow };
            let (delay, _) = self.delivery.retry(verdict, obstacle, self.now);
            assert!(delay <= SLOWLY.1);
        }
    }
}

proptest! {
    // `PROPTEST_CASES=1000000 cargo test --lib random_schedules` runs a million schedules.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_random_schedules_every_set_comes_into_force_and_nobody_is_woken_without_need(
        events in prop::collection::vec(event(), 0..60)
    ) {
        let mut model = Model::new();
        model.happen(&Event::Publish { features: 0 });
        for event in &events {
            model.happen(event);
        }
        // Everything is good again: the latest set must come into force, by a reload or by a start.
        model.runs = true;
        model.asked = Asked::Yes;
        model.takes = true;
        model.happen(&Event::Edit);
        model.pass(RELOAD_AGAIN * 2);
        prop_assert!(model.delivery.is_settled());
        prop_assert_eq!(model.serves, model.features);
        prop_assert!(!model.delivery.owes_reload());
        let before = model.reloaded;
        model.pass(EVERY * 10);
        prop_assert_eq!(model.reloaded, before, "a settled consumer is left alone");
    }
}
