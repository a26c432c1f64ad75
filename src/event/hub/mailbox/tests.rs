//! What waits for a connection: bounds, what overtakes what, and how who is behind goes live.

use super::*;
use futures_util::task::noop_waker;

fn at(offset: u64) -> Place {
    Place { incarnation: 1, offset }
}

struct Desk {
    mailbox: Mailbox,
    slot: usize,
}

impl Desk {
    fn new(limits: Limits, behind: bool, conflates: bool) -> Self {
        let mailbox = Mailbox::new(limits, Arc::default());
        let slot = mailbox.open(Arc::from("s"), behind, conflates);
        Self { mailbox, slot }
    }

    fn tell(&self, lane: Lane, offset: u64, operation: &str, key: &str) -> Outcome {
        self.tell_row(lane, offset, (operation, key, None))
    }

    fn tell_row(&self, lane: Lane, offset: u64, (operation, key, row): (&str, &str, Option<i64>)) -> Outcome {
        let origin = row.map(Origin::Row);
        let head = format!("\"operation\":\"{operation}\",");
        let tail = Bytes::from(format!("{head}\"key\":{key},\"offset\":{offset}}}"));
        self.mailbox.tell(self.slot, lane, &Told { place: at(offset), origin, part: None, key, tail: &tail, head: head.len() })
    }

    fn restart(&self, offset: u64) -> Outcome {
        let head = "\"operation\":\"resync_required\",";
        let (tail, key) = (Bytes::from(format!("{head}\"offset\":{offset}}}")), format!("resync {offset}"));
        let told = Told { place: at(offset), origin: None, part: None, key: &key, tail: &tail, head: head.len() };
        self.mailbox.restart(self.slot, &told)
    }

    /// What is taken, as operation, key and offset.
    fn take(&self) -> Result<Vec<(String, String, u64)>, Overflow> {
        let waker = noop_waker();
        let (mut batch, mut resumed) = (Vec::new(), Vec::new());
        let taken = self.mailbox.poll_take(&mut Context::from_waker(&waker), &mut batch, &mut resumed);
        if let Poll::Ready(outcome) = taken {
            outcome?;
        }
        let read = |one: Notification| {
            let told: serde_json::Value = serde_json::from_slice(&[b"{", &one.tail[..]].concat()).unwrap();
            (told["operation"].as_str().unwrap().to_owned(), told["key"].to_string(), told["offset"].as_u64().unwrap())
        };
        Ok(batch.into_iter().map(read).collect())
    }

    fn took(&self, expected: &[(&str, &str, u64)]) {
        let taken = self.take().unwrap();
        let taken: Vec<_> = taken.iter().map(|(operation, key, offset)| (operation.as_str(), key.as_str(), *offset)).collect();
        assert_eq!(taken, expected);
    }
}

const WIDE: Limits = Limits { notifications: 1000, bytes: 1 << 20 };

#[test]
fn only_the_first_that_waits_wakes_and_everything_is_told_once_in_order() {
    let desk = Desk::new(WIDE, false, false);
    assert_eq!(desk.tell(Lane::Live, 1, "create", "1"), Outcome::Wakes);
    assert_eq!(desk.tell(Lane::Live, 2, "update", "1"), Outcome::Queued);
    assert_eq!(desk.tell(Lane::Live, 2, "update", "1"), Outcome::Passed, "it was told");
    desk.took(&[("create", "1", 1), ("update", "1", 2)]);
    desk.took(&[]);
    desk.mailbox.settle(desk.slot, at(5));
    assert_eq!(desk.tell(Lane::Live, 5, "update", "1"), Outcome::Passed, "it need not be told");
    assert_eq!(desk.tell(Lane::Live, 6, "update", "1"), Outcome::Wakes);
    desk.mailbox.close(desk.slot);
    desk.took(&[]);
    assert_eq!(desk.tell(Lane::Live, 7, "update", "1"), Outcome::Passed);
}

#[test]
fn too_many_or_too_much_ends_it_and_gives_the_memory_back() {
    for limits in [Limits { notifications: 3, ..WIDE }, Limits { bytes: 400, ..WIDE }] {
        let desk = Desk::new(limits, false, false);
        let outcomes: Vec<Outcome> = (1..=5).map(|offset| desk.tell(Lane::Live, offset, "update", "1")).collect();
        assert!(outcomes.contains(&Outcome::Overflows), "{outcomes:?}");
        assert_eq!(outcomes.last(), Some(&Outcome::Passed));
        assert_eq!(desk.take(), Err(Overflow));
        assert_eq!(desk.mailbox.inner().queue.capacity(), 0);
    }
}

#[test]
fn the_latest_of_a_record_overtakes_and_a_new_record_stays_new() {
    let desk = Desk::new(Limits { notifications: 3, ..WIDE }, false, true);
    for offset in 0..500 {
        desk.tell(Lane::Live, offset * 4 + 1, if offset == 0 { "create" } else { "update" }, "1");
        desk.tell(Lane::Live, offset * 4 + 2, "update", "2");
        desk.tell(Lane::Live, offset * 4 + 3, "update", "3");
    }
    desk.tell(Lane::Live, 3000, "delete", "2");
    assert!(desk.mailbox.inner().queue.len() < 64 + 8, "what was overtaken takes no room for ever");
    desk.took(&[("create", "1", 1997), ("update", "3", 1999), ("delete", "2", 3000)]);
    desk.tell(Lane::Live, 3001, "update", "3");
    desk.took(&[("update", "3", 3001)]);
    assert!(desk.mailbox.inner().slots[0].as_ref().unwrap().latest.is_empty());
}

#[test]
fn what_was_taken_in_part_is_not_overtaken() {
    let desk = Desk::new(WIDE, false, true);
    let long = format!("\"{}\"", "x".repeat(BATCH_BYTES));
    desk.tell(Lane::Live, 1, "create", "1");
    desk.tell(Lane::Live, 2, "update", &long);
    desk.tell(Lane::Live, 3, "update", "2");
    desk.took(&[("create", "1", 1), ("update", &long, 2)]);
    desk.tell(Lane::Live, 4, "update", "1");
    desk.tell(Lane::Live, 5, "update", "2");
    desk.took(&[("update", "1", 4), ("update", "2", 5)]);
}

#[test]
fn who_is_behind_goes_live_when_all_that_was_noted_is_replayed() {
    let desk = Desk::new(WIDE, true, false);
    let (mailbox, slot) = (&desk.mailbox, desk.slot);
    mailbox.settle(slot, at(2));
    assert_eq!(desk.tell(Lane::Live, 5, "update", "5"), Outcome::Passed);
    assert_eq!(mailbox.begin_replay(slot, 1), Some(at(2)));
    assert_eq!(desk.tell(Lane::Replay(1), 3, "update", "3"), Outcome::Wakes);
    assert_eq!(desk.tell(Lane::Replay(7), 4, "update", "4"), Outcome::Passed, "it is not of that replay");
    assert!(!mailbox.catch_up(slot, Some(1), at(4)), "5 has happened since");
    assert_eq!(desk.tell(Lane::Replay(1), 5, "update", "5"), Outcome::Queued);
    assert!(mailbox.catch_up(slot, Some(1), at(5)));
    assert_eq!(desk.tell(Lane::Replay(1), 6, "update", "6"), Outcome::Passed);
    assert_eq!(desk.tell(Lane::Live, 6, "update", "6"), Outcome::Queued);
    desk.took(&[("update", "3", 3), ("update", "5", 5), ("update", "6", 6)]);
}

#[test]
fn a_replay_stops_when_much_waits_and_goes_on_from_there() {
    let desk = Desk::new(Limits { notifications: 8, ..WIDE }, true, false);
    desk.mailbox.begin_replay(desk.slot, 1);
    let outcomes: Vec<Outcome> = (1..=6).map(|offset| desk.tell(Lane::Replay(1), offset, "update", "1")).collect();
    assert_eq!(outcomes[4..], [Outcome::Pauses, Outcome::Passed]);
    assert!(!desk.mailbox.is_replayed(desk.slot, 1));
    assert!(desk.mailbox.catch_up(desk.slot, Some(1), at(6)), "there is nothing to be done for it");
    let waker = noop_waker();
    let (mut batch, mut resumed) = (Vec::new(), Vec::new());
    let taken = desk.mailbox.poll_take(&mut Context::from_waker(&waker), &mut batch, &mut resumed);
    assert_eq!((taken, batch.len(), resumed), (Poll::Ready(Ok(())), 4, vec![desk.slot]));
    assert_eq!(desk.mailbox.begin_replay(desk.slot, 2), Some(at(4)));
    assert_eq!(desk.tell(Lane::Replay(2), 5, "update", "1"), Outcome::Wakes);
}

#[test]
fn what_a_snapshot_has_shown_is_told_by_nobody() {
    let desk = Desk::new(WIDE, false, false);
    let seen = serde_json::from_str("[[1,3],[5,5]]").unwrap();
    desk.mailbox.has_seen(desk.slot, Sight::Rows(seen));
    assert_eq!(desk.tell_row(Lane::Live, 1, ("update", "1", Some(3))), Outcome::Passed);
    assert_eq!(desk.tell_row(Lane::Live, 2, ("update", "2", Some(4))), Outcome::Wakes);
    assert_eq!(desk.tell_row(Lane::Live, 3, ("update", "3", Some(5))), Outcome::Passed);
    assert_eq!(desk.tell_row(Lane::Live, 4, ("update", "4", Some(6))), Outcome::Queued);
    desk.took(&[("update", "2", 2), ("update", "4", 4)]);
    assert!(desk.mailbox.inner().slots[0].as_ref().unwrap().seen.is_none(), "it is not kept for ever");
}

#[test]
fn who_reads_again_has_read_what_its_snapshot_had_shown() {
    let desk = Desk::new(WIDE, false, false);
    desk.mailbox.settle(desk.slot, at(1));
    let seen = || Sight::Rows(serde_json::from_str("[[1,3]]").unwrap());
    desk.mailbox.has_seen(desk.slot, seen());
    desk.restart(2);
    assert_eq!(desk.tell_row(Lane::Live, 3, ("create", "1", Some(3))), Outcome::Passed, "it was told late");
    desk.mailbox.forget_seen(desk.slot);
    assert_eq!(desk.tell_row(Lane::Live, 4, ("create", "1", Some(3))), Outcome::Queued, "of another database");
    desk.mailbox.has_seen(desk.slot, seen());
    let text = Bytes::from_static(b"resync");
    let told = Told { place: Place { incarnation: 2, offset: 0 }, origin: None, part: None, key: "", tail: &text, head: 0 };
    desk.mailbox.restart(desk.slot, &told);
    assert!(desk.mailbox.inner().slots[0].as_ref().unwrap().seen.is_none(), "the bus was made anew");
}

#[test]
fn a_snapshot_of_before_changes_were_captured_in_another_way_hides_nothing() {
    let desk = Desk::new(WIDE, false, false);
    let seen = serde_json::from_value(serde_json::json!({"transactions": {"next": i64::MAX, "running": []}})).unwrap();
    desk.mailbox.has_seen(desk.slot, seen);
    assert_eq!(desk.tell_row(Lane::Live, 1, ("update", "1", Some(3))), Outcome::Wakes);
    desk.took(&[("update", "1", 1)]);
    assert!(desk.mailbox.inner().slots[0].as_ref().unwrap().seen.is_none());
}

#[test]
fn what_has_arrived_is_known_for_each_subscription() {
    let desk = Desk::new(WIDE, false, false);
    let other = desk.mailbox.open(Arc::from("o"), true, false);
    desk.mailbox.settle(desk.slot, at(1));
    desk.mailbox.settle(other, at(3));
    desk.tell(Lane::Live, 6, "update", "1");
    assert_eq!(desk.mailbox.taken(at(9)), [(desk.slot, at(1)), (other, at(3))]);
    desk.take().unwrap();
    assert_eq!(desk.mailbox.taken(at(9)), [(desk.slot, at(9)), (other, at(3))], "one that is behind has heard no more");
}

#[test]
fn who_must_read_again_is_nowhere_before_that_is_taken() {
    let desk = Desk::new(WIDE, true, false);
    let mailbox = &desk.mailbox;
    mailbox.settle(desk.slot, at(5));
    assert_eq!((mailbox.taken(at(9)), mailbox.all_taken(at(9))), (vec![(desk.slot, at(5))], at(5)));
    assert_eq!(desk.restart(7), Outcome::Wakes);
    assert_eq!(desk.tell(Lane::Live, 8, "update", "1"), Outcome::Queued, "and it goes on from there");
    assert!(mailbox.taken(at(9)).is_empty(), "it would go on from 5 without it");
    assert_eq!(
        (mailbox.all_taken(at(9)), mailbox.audible(desk.slot)),
        (Place::default(), Some((Place::default(), Place::default())))
    );
    desk.took(&[("resync_required", "null", 7), ("update", "1", 8)]);
    assert_eq!((mailbox.taken(at(9)), mailbox.all_taken(at(9))), (vec![(desk.slot, at(9))], at(9)));
    // Told at the same place as what came before it, which says nothing of it.
    desk.restart(8);
    desk.took(&[("resync_required", "null", 8)]);
    assert_eq!(mailbox.audible(desk.slot), Some((at(8), at(8))));
    assert_eq!(mailbox.taken(at(8)), [(desk.slot, at(8))]);
}

#[test]
fn a_beginning_takes_back_nothing_that_was_said_meanwhile() {
    let desk = Desk::new(WIDE, true, false);
    desk.restart(3);
    desk.mailbox.settle(desk.slot, at(5));
    desk.took(&[("resync_required", "null", 3)]);
    let desk = Desk::new(WIDE, true, false);
    let tail = Bytes::from_static(b"\"operation\":\"ended\",\"offset\":3}");
    desk.mailbox.finish(desk.slot, &Told { place: at(3), origin: None, part: None, key: "ended", tail: &tail, head: 0 });
    desk.mailbox.settle(desk.slot, at(5));
    desk.took(&[("ended", "null", 3)]);
}

#[test]
fn of_what_overflowed_nothing_is_taken() {
    let desk = Desk::new(Limits { notifications: 1, ..WIDE }, false, false);
    desk.tell(Lane::Live, 1, "update", "1");
    assert_eq!(desk.tell(Lane::Live, 2, "update", "1"), Outcome::Overflows);
    assert!(desk.mailbox.taken(at(9)).is_empty());
    assert_eq!(desk.mailbox.all_taken(at(9)), Place::default());
}

#[test]
fn a_place_that_is_given_back_is_taken_again_however_many_there_are() {
    /// If each looked through all others this would take minutes.
    const MANY: usize = 200_000;
    let mailbox = Mailbox::new(Limits { notifications: 1, bytes: 1 }, Arc::default());
    let open = || mailbox.open(Arc::from("s"), false, false);
    assert!((0..MANY).all(|number| open() == number));
    mailbox.close(7);
    mailbox.close(3);
    assert_eq!((open(), open(), open()), (3, 7, MANY));
    mailbox.close(5);
    for last in (MANY / 2..=MANY).rev() {
        mailbox.close(last);
    }
    assert_eq!(mailbox.inner().slots.len(), MANY / 2, "no room is held for what is no more");
    assert_eq!((open(), open()), (5, MANY / 2));
}
