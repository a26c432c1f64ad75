//! Connections of two runtimes, lent, borrowed, moved, waited for, given up and closed.

use super::lease::MOVES_AFTER;
use super::*;
use futures_util::poll;
use std::sync::atomic::AtomicBool;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

const SOON: Duration = Duration::from_secs(20);

/// Opens numbers, and counts them.
#[derive(Default)]
struct Numbers {
    opened: AtomicUsize,
    abandoned: AtomicUsize,
    broken: AtomicBool,
    away: AtomicBool,
    hangs: AtomicBool,
}

impl Manage for Numbers {
    type Connection = usize;

    async fn connect(&self) -> Result<usize, Error> {
        if self.away.load(Ordering::Relaxed) {
            return Err(Error::Unavailable("the numbers are away".to_owned()));
        }
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(self.opened.fetch_add(1, Ordering::Relaxed))
    }

    fn is_usable(&self, _: &usize) -> bool {
        !self.broken.load(Ordering::Relaxed)
    }

    async fn abandon(&self, _: usize) {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
    }
}

fn pool(size: usize) -> Pool<Numbers> {
    Pool::new(Numbers::default(), size, SOON)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn lent(pool: &Pool<Numbers>) -> Lease<Numbers> {
    pool.acquire(Instant::now() + SOON).await.unwrap()
}

/// Two runtimes whose shares differ, as those of two cores do.
fn cores(pool: &Pool<Numbers>) -> (Runtime, Runtime) {
    let first = runtime();
    let place = |of: &Runtime| of.block_on(async { here() }) % pool.shared.shares.len();
    let second = std::iter::repeat_with(runtime).find(|other| pool.shared.shares.len() == 1 || place(other) != place(&first));
    (first, second.unwrap())
}

#[test]
fn a_connection_stays_with_the_runtime_that_opened_it() {
    let pool = pool(8);
    let (first, second) = cores(&pool);
    let mine = first.block_on(async { *lent(&pool).await });
    let theirs = second.block_on(async { *lent(&pool).await });
    assert_ne!(mine, theirs, "it may open one of its own");
    for _ in 0..3 {
        assert_eq!(first.block_on(async { *lent(&pool).await }), mine);
        assert_eq!(second.block_on(async { *lent(&pool).await }), theirs);
    }
    assert_eq!(pool.usage(), (2, 0));
}

#[test]
fn one_runtime_can_have_all_and_gives_them_back_to_where_they_are_from() {
    let pool = pool(4);
    let (first, second) = cores(&pool);
    let all = first.block_on(async { [lent(&pool).await, lent(&pool).await, lent(&pool).await, lent(&pool).await] });
    assert_eq!(pool.usage(), (4, 4));
    let mut opened: Vec<usize> = all.iter().map(|lease| **lease).collect();
    drop(all);
    // No more may be opened, so that the other one borrows.
    let borrowed = second.block_on(async { *lent(&pool).await });
    assert!(opened.contains(&borrowed));
    let home = first.block_on(async { here() }) % pool.shared.shares.len();
    assert_eq!(pool.shared.shares[home].idle().len(), 4, "what was borrowed is back where it is from");
    let all = first.block_on(async { [lent(&pool).await, lent(&pool).await, lent(&pool).await, lent(&pool).await] });
    let mut again: Vec<usize> = all.iter().map(|lease| **lease).collect();
    opened.sort_unstable();
    again.sort_unstable();
    assert_eq!(again, opened);
    assert_eq!(pool.shared.manage.opened.load(Ordering::Relaxed), 4);
}

#[test]
fn what_is_always_borrowed_moves_to_who_borrows_it() {
    let pool = pool(2);
    let (first, second) = cores(&pool);
    let both = first.block_on(async { [lent(&pool).await, lent(&pool).await] });
    drop(both);
    second.block_on(async {
        for _ in 0..MOVES_AFTER {
            assert!(*lent(&pool).await < 2, "it is borrowed until it is worth another one");
        }
        while pool.usage().1 > 0 {
            tokio::task::yield_now().await;
        }
        let moved = *lent(&pool).await;
        assert_eq!(moved, 2);
        assert_eq!(*lent(&pool).await, moved);
    });
    first.block_on(async { assert!(*lent(&pool).await < 2, "the other one has stayed") });
    assert_eq!(pool.usage(), (2, 0));
}

#[test]
fn what_is_used_at_home_in_between_stays_there() {
    let pool = pool(1);
    let (first, second) = cores(&pool);
    for _ in 0..MOVES_AFTER {
        assert_eq!(first.block_on(async { *lent(&pool).await }), 0);
        assert_eq!(second.block_on(async { *lent(&pool).await }), 0);
    }
    assert_eq!(pool.usage(), (1, 0));
}

#[test]
fn a_move_that_fails_leaves_room_for_who_needs_it() {
    let pool = pool(1);
    let (first, second) = cores(&pool);
    first.block_on(async { drop(lent(&pool).await) });
    second.block_on(async {
        for _ in 1..MOVES_AFTER {
            drop(lent(&pool).await);
        }
        pool.shared.manage.away.store(true, Ordering::Relaxed);
        drop(lent(&pool).await);
        assert!(matches!(pool.acquire(Instant::now() + SOON).await, Err(Error::Unavailable(_))));
        assert_eq!(pool.usage(), (0, 0));
        pool.shared.manage.away.store(false, Ordering::Relaxed);
        assert_eq!(*lent(&pool).await, 1);
    });
}

#[test]
fn whoever_gives_up_connecting_or_fails_takes_no_room() {
    let pool = pool(1);
    runtime().block_on(async {
        pool.shared.manage.hangs.store(true, Ordering::Relaxed);
        let mut connecting = Box::pin(pool.acquire(Instant::now() + SOON));
        assert!(poll!(connecting.as_mut()).is_pending());
        assert_eq!(pool.usage(), (1, 1), "the room is taken while it connects");
        drop(connecting);
        assert_eq!(pool.usage(), (0, 0));
        let short = pool.acquire(Instant::now() + Duration::from_millis(1)).await;
        assert!(matches!(short, Err(Error::Deadline)));
        pool.shared.manage.away.store(true, Ordering::Relaxed);
        assert!(matches!(pool.acquire(Instant::now() + SOON).await, Err(Error::Unavailable(_))));
        assert_eq!(pool.usage(), (0, 0));
    });
}

#[test]
fn what_is_given_up_in_the_middle_is_ended_and_not_lent_again() {
    let pool = pool(1);
    runtime().block_on(async {
        let mut lease = lent(&pool).await;
        lease.begin();
        drop(lease);
        assert_eq!(*lent(&pool).await, 1);
        let mut lease = lent(&pool).await;
        lease.begin();
        lease.finish();
        drop(lease);
        assert_eq!(*lent(&pool).await, 1, "what is finished is lent again");
        pool.close().await;
    });
    assert_eq!(pool.shared.manage.abandoned.load(Ordering::Relaxed), 1);
}

#[test]
fn what_is_forgotten_is_opened_anew_and_what_is_lent_stays() {
    let pool = pool(2);
    runtime().block_on(async {
        let kept = lent(&pool).await;
        drop(lent(&pool).await);
        pool.forget_idle();
        assert_eq!(pool.usage(), (1, 1));
        assert_eq!(*lent(&pool).await, 2);
        assert_eq!(*kept, 0);
    });
}

#[test]
fn whoever_waits_long_takes_what_another_core_gives_back() {
    let pool = pool(2);
    let (first, second) = cores(&pool);
    // One of each share, and both in use.
    let kept = first.block_on(lent(&pool));
    let given_back = second.block_on(lent(&pool));
    let (begun, begins) = oneshot::channel();
    let waits = pool.clone();
    let waiting = std::thread::spawn(move || {
        first.block_on(async {
            let mut waiting = pin!(lent(&waits));
            assert!(poll!(waiting.as_mut()).is_pending());
            assert_eq!(waits.waiting(), 1);
            begun.send(()).unwrap();
            drop(waiting.await);
        });
    });
    second.block_on(async {
        begins.await.unwrap();
        tokio::time::sleep(PATIENCE * 2).await;
        drop(given_back);
    });
    waiting.join().unwrap();
    drop(kept);
    assert_eq!((pool.usage().1, pool.waiting()), (0, 0));
}

#[test]
fn no_more_are_lent_than_there_are_and_nobody_is_left_waiting() {
    let pool = pool(3);
    let busiest = Arc::new(AtomicUsize::new(0));
    let lending = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (pool, busiest, lending) = (pool.clone(), Arc::clone(&busiest), Arc::clone(&lending));
            std::thread::spawn(move || {
                runtime().block_on(async {
                    let tasks = (0..25).map(|_| async {
                        let lease = lent(&pool).await;
                        busiest.fetch_max(lending.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        lending.fetch_sub(1, Ordering::SeqCst);
                        drop(lease);
                    });
                    futures_util::future::join_all(tasks).await;
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(busiest.load(Ordering::SeqCst) <= 3);
    let opened = pool.shared.manage.opened.load(Ordering::Relaxed);
    assert!(opened <= 3, "{opened} were opened");
    assert_eq!(pool.usage(), (opened, 0));
}

#[test]
fn a_closed_pool_refuses_who_waits_and_who_comes() {
    let pool = pool(1);
    let runtime = runtime();
    runtime.block_on(async {
        let kept = lent(&pool).await;
        let mut waiting = pin!(pool.acquire(Instant::now() + SOON));
        assert!(poll!(waiting.as_mut()).is_pending());
        pool.close().await;
        assert!(matches!(waiting.await, Err(Error::Unavailable(_))));
        drop(kept);
        assert!(matches!(pool.acquire(Instant::now() + SOON).await, Err(Error::Unavailable(_))));
    });
    assert_eq!(pool.usage().0, 0);
}

#[test]
fn what_can_not_be_lent_any_more_is_opened_anew() {
    let pool = pool(2);
    runtime().block_on(async {
        let first = *lent(&pool).await;
        pool.shared.manage.broken.store(true, Ordering::Relaxed);
        let second = *lent(&pool).await;
        assert_ne!(first, second);
        assert_eq!(pool.usage(), (0, 0), "nothing broken is kept");
    });
}
